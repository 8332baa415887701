// Runs a signature of a SavedModel with the loader that TensorFlow Serving uses.
//
//   predict MODEL SIGNATURE [NAME SHAPE FILE]...
//   predict models/fashion/1 serving_default inputs 8,28,28,1 images.raw
//
// FILE holds the values of the input NAME, in C order and the type that the
// signature asks for. Each output is printed as one line of JSON. README.md has the
// commands that build it.

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"

namespace {

int Fail(const std::string& message) {
  std::cerr << "error: " << message << std::endl;
  return 1;
}

bool ParseShape(const std::string& text, tensorflow::TensorShape* shape) {
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    const long size = std::strtol(part.c_str(), &end, 10);
    if (part.empty() || *end || size < 0 || !shape->AddDimWithStatus(size).ok()) {
      return false;
    }
  }
  return true;
}

template <typename T>
void PrintNumbers(const tensorflow::Tensor& tensor) {
  const T* values = static_cast<const T*>(tensor.data());
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    std::cout << (i ? "," : "") << +values[i];
  }
}

void PrintStrings(const tensorflow::Tensor& tensor) {
  const auto* values = static_cast<const tensorflow::tstring*>(tensor.data());
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    std::cout << (i ? ",\"" : "\"");
    for (const unsigned char c : std::string(values[i])) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", c);
      const bool plain = c >= 0x20 && c != '"' && c != '\\';
      std::cout << (plain ? std::string(1, c) : std::string(escaped));
    }
    std::cout << '"';
  }
}

bool Print(const std::string& name, const tensorflow::Tensor& tensor) {
  std::cout << "{\"name\":\"" << name << "\",\"shape\":[";
  for (int i = 0; i < tensor.dims(); ++i) {
    std::cout << (i ? "," : "") << tensor.dim_size(i);
  }
  std::cout << "],\"values\":[";
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT:
      PrintNumbers<float>(tensor);
      break;
    case tensorflow::DT_INT64:
      PrintNumbers<int64_t>(tensor);
      break;
    case tensorflow::DT_BOOL:
      PrintNumbers<bool>(tensor);
      break;
    case tensorflow::DT_STRING:
      PrintStrings(tensor);
      break;
    default:
      return false;
  }
  std::cout << "]}\n";
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc % 3) {
    return Fail("usage: predict MODEL SIGNATURE [NAME SHAPE FILE]...");
  }
  tensorflow::SavedModelBundleLite bundle;
  auto status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) return Fail(status.ToString());

  const auto& signatures = bundle.GetSignatures();
  const auto found = signatures.find(argv[2]);
  if (found == signatures.end()) {
    return Fail(std::string("there is no signature ") + argv[2]);
  }
  const auto& signature = found->second;

  std::vector<std::pair<std::string, tensorflow::Tensor>> inputs;
  for (int i = 3; i < argc; i += 3) {
    const auto input = signature.inputs().find(argv[i]);
    if (input == signature.inputs().end()) {
      return Fail(std::string("there is no input ") + argv[i]);
    }
    tensorflow::TensorShape shape;
    if (!ParseShape(argv[i + 1], &shape)) {
      return Fail(std::string("no shape: ") + argv[i + 1]);
    }
    std::ifstream file(argv[i + 2], std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const auto type = input->second.dtype();
    const int64_t size = tensorflow::DataTypeSize(type) * shape.num_elements();
    if (!file || static_cast<int64_t>(bytes.size()) != size) {
      return Fail(std::string(argv[i + 2]) + " must hold " + std::to_string(size) +
                  " bytes, and holds " + std::to_string(bytes.size()));
    }
    tensorflow::Tensor tensor(type, shape);
    std::copy(bytes.begin(), bytes.end(), static_cast<char*>(tensor.data()));
    inputs.emplace_back(input->second.name(), std::move(tensor));
  }

  std::vector<std::string> names, tensors;
  for (const auto& output : signature.outputs()) {
    names.push_back(output.first);
    tensors.push_back(output.second.name());
  }
  std::vector<tensorflow::Tensor> outputs;
  status = bundle.GetSession()->Run(inputs, tensors, {}, &outputs);
  if (!status.ok()) return Fail(status.ToString());
  std::cout.precision(9);
  for (size_t i = 0; i < names.size(); ++i) {
    if (!Print(names[i], outputs[i])) {
      return Fail("output " + names[i] + " is of no type that is printed");
    }
  }
}
