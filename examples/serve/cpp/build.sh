#!/usr/bin/env bash
# Compiles predict.cc against the wheel of TensorFlow: build.sh PROGRAM
set -euo pipefail
source="$(dirname "${BASH_SOURCE[0]}")"
python="${PYTHON:-python}"
flags="$("$python" -c 'import tensorflow as tf; print(*tf.sysconfig.get_compile_flags())')"
lib="$("$python" -c 'import tensorflow as tf; print(tf.sysconfig.get_lib())')"
linker=()
# The library is large.
if command -v ld.gold > /dev/null; then linker=(-fuse-ld=gold); fi
# shellcheck disable=SC2086
"${CXX:-g++}" $flags -w ${CXXFLAGS:--O2} "$source/predict.cc" -o "$1" \
    -Wl,--no-as-needed -L"$lib" -Wl,-rpath,"$lib" "${linker[@]}" \
    -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2
