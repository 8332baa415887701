"""Which operations a SavedModel may be made of: those that compute, and no others.

TensorFlow's protocol buffers alone. A SavedModel is a program, and what is loaded may
run at once: one with any other operation is not loaded.
"""

import os

from tensorflow.core.protobuf import saved_model_pb2

# What predictors of `tfhyper.export.saved_model` are made of, and the like of it that
# Keras' layers and `keras.ops` are. None reads or writes a file, opens a connection,
# runs Python, prints, or holds a data set.
MATH = """
    Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin
    Asinh Atan Atan2 Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 Betainc Bincount
    BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast Ceil Cholesky ClipByValue Complex
    ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp DenseBincount
    Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 FFT FFT2D
    FFT3D Floor FloorDiv FloorMod Greater GreaterEqual HistogramFixedWidth IFFT IFFT2D
    IRFFT IRFFT2D Igamma Igammac Imag Inv Invert InvertPermutation IsFinite IsInf IsNan
    LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogMatrixDeterminant LogicalAnd
    LogicalNot LogicalOr MatMul MatrixBandPart MatrixDeterminant MatrixDiag
    MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
    MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
    MatrixSquareRoot MatrixTriangularSolve Max Maximum Mean Min Minimum Mod Mul MulNoNan
    Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod Qr RFFT RFFT2D Range
    Real RealDiv Reciprocal RightShift Rint Round Rsqrt SegmentMax SegmentMean
    SegmentMin SegmentProd SegmentSum SelfAdjointEigV2 Sigmoid Sign Sin Sinh
    SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum Sqrt Square SquaredDifference
    Sub Sum Svd Tan Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
"""
SHAPES = """
    BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo
    Concat ConcatOffset ConcatV2 Const DepthToSpace DynamicPartition DynamicStitch Empty
    EnsureShape ExpandDims Fill Gather GatherNd GatherV2 GuaranteeConst Identity
    IdentityN InTopK InTopKV2 ListDiff LowerBound MirrorPad NoOp OneHot OnesLike Pack
    Pad PadV2 ParallelConcat ParallelDynamicStitch Placeholder PlaceholderWithDefault
    PreventGradient RaggedGather RaggedRange RaggedTensorToSparse RaggedTensorToTensor
    Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Select
    SelectV2 Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth
    SparseReshape SparseSlice SparseTensorDenseMatMul SparseToDense Split SplitV Squeeze
    StopGradient StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile TopK TopKV2
    Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex
    UpperBound Where ZerosLike
"""
NETWORKS = """
    AvgPool AvgPool3D BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropInput
    Conv2DBackpropInputV2 Conv3D Conv3DBackpropInputV2 CropAndResize CudnnRNN
    CudnnRNNCanonicalToParamsV2 CudnnRNNV2 CudnnRNNV3 DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput Dilation2D Elu ExtractImagePatches
    ExtractVolumePatches FractionalAvgPool FusedBatchNorm FusedBatchNormV2
    FusedBatchNormV3 HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3
    L2Loss LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax
    NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel RGBToHSV Relu Relu6 ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate Selu Softmax Softplus
    Softsign SparseSoftmaxCrossEntropyWithLogits SoftmaxCrossEntropyWithLogits
    AdjustContrastv2 AdjustHue AdjustSaturation
"""
# Of a seed that is given: the same again for the same.
RANDOM = """
    StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial
    StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform
    StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
    StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
    StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2
"""
# Loops, branches and calls; the functions are looked through too. The lists are those
# that loops fill.
CONTROL = """
    Assert Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf
    StatelessWhile While EmptyTensorList TensorListConcatV2
    TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListResize TensorListSetItem TensorListSplit TensorListStack
"""
VARIABLES = """
    AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead
    ReadVariableOp ResourceGather ResourceGatherNd ResourceScatterUpdate
    ResourceStridedSliceAssign VarHandleOp VarIsInitializedOp VariableShape
"""
# Vocabularies and texts. A table's values are in the graph:
# `InitializeTableFromTextFileV2` would read a file.
TEXT = """
    AsString HashTable HashTableV2 InitializeTable InitializeTableV2 LookupTableExport
    LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImport
    LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize
    LookupTableSizeV2 MutableDenseHashTableV2 MutableHashTable MutableHashTableV2
    RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat
    StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2
    StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber
    StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
    UnicodeTranscode UnsortedSegmentJoin
"""
GROUPS = (MATH, SHAPES, NETWORKS, RANDOM, CONTROL, VARIABLES, TEXT)
ALLOWED = frozenset(name for group in GROUPS for name in group.split())
# They write and read checkpoints: in what saves and restores alone, which every
# SavedModel has, and nothing calls when one is loaded or answers.
CHECKPOINTS = frozenset("MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename".split())


def check_operations(path: str) -> None:
    """Raises ValueError if a SavedModel does more than compute.

    Its graphs are looked through, the functions in its library, and what these call.

    Args:
        path: its folder.
    """
    saved_model = saved_model_pb2.SavedModel()
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        saved_model.ParseFromString(file.read())
    found = set()
    for meta_graph in saved_model.meta_graphs:
        found |= _refused(meta_graph)
    if found:
        raise ValueError(
            f"its graph has operations that no predictor has: {sorted(found)}"
        )


def _refused(meta_graph):
    library = meta_graph.graph_def.library
    functions = {f.signature.name: f.node_def for f in library.function}
    for gradient in library.gradient:
        # Called wherever the function is.
        functions.setdefault(gradient.function_name, [])
        functions[gradient.function_name] = [
            *functions[gradient.function_name],
            *functions.get(gradient.gradient_func, []),
        ]
    saver = meta_graph.saver_def
    names = {saver.save_tensor_name.split(":")[0], saver.restore_op_name}
    nodes = meta_graph.graph_def.node
    of_saver = [node for node in nodes if node.name in names]
    others = [node for node in nodes if node.name not in names]
    saving = _called(_calls(of_saver), functions)
    # What is loaded as an object can be called, whatever else it is for.
    roots = set(functions) - saving | _objects(meta_graph.object_graph_def)
    computing = _called(roots | _calls(others), functions)
    refused = _operations(others, computing, functions) - ALLOWED
    return refused | (
        _operations(of_saver, saving - computing, functions) - ALLOWED - CHECKPOINTS
    )


def _objects(graph):
    """Returns the names of the functions that the loaded object has."""
    found = set(graph.concrete_functions)
    for node in graph.nodes:
        found.update(node.function.concrete_functions)
        found.add(node.bare_concrete_function.concrete_function_name)
    return found


def _called(names, functions):
    """Returns functions and all that they call."""
    found, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in found:
            found.add(name)
            waiting |= _calls(functions[name])
    return found


def _calls(nodes):
    found = set()
    for node in nodes:
        for value in node.attr.values():
            found.add(value.func.name)
            found.update(function.name for function in value.list.func)
    return found


def _operations(nodes, names, functions):
    """Returns the types of nodes, and of those of functions; calls of them left out."""
    found = {node.op for node in nodes}
    for name in names:
        found.update(node.op for node in functions[name])
    return found - functions.keys()
