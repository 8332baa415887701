"""A predictor as a TensorFlow SavedModel."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from tfhyper.checks import check_bool, check_path
from tfhyper.export.arguments import Form, check_free, check_predictor
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.whole_files import whole_folder


def saved_model(
    predictor: BasePredictor,
    path: str,
    *,
    form: Form | None = None,
    overwrite: bool = False,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    sampling: bool = False,
    sampling_inputs: ArrayLike | None = None,
) -> None:
    """Writes a predictor as a TensorFlow SavedModel: no Keras, no tfhyper needed.

    A folder that TensorFlow, TensorFlow Serving and C++ load. It gives what
    `predictor.predict` gives, in float32, for batches of any size. Signatures:

        serving_default   of a classifier: probabilities (batch, classes), their
                          mean over the draws; class (batch,), int64; total,
                          aleatoric and epistemic (batch,), nats. Of a regression:
                          mean, variance, and its parts aleatoric and epistemic,
                          each (batch,). Of a predictor with a `rejection` also
                          rejected (batch,), bool: where the answer is unknown,
                          whatever class and mean say. Of one with a `scorer` also
                          foreign (batch,), its scores. Of one with a `conformal`
                          rule also sets (batch, classes), bool: which classes are in
                          the conformal set; or lower and upper, each (batch,)
        members           members (batch, draws, classes); of a regression members
                          and member_variance, (batch, draws). The batch comes
                          first, as servers that put requests together expect
        metadata          no inputs: metadata, a string of JSON, and class_names
                          (classes,), strings, none if they are not known
        sample            with `sampling`: inputs and seed, an int32 scalar; gives
                          what the first two give, of draws made for that seed. No
                          sets, lower and upper, no foreign and no rejection by it:
                          these are of the predictor's own draws

    Look-up tables and vocabularies of the model's layers (`TextVectorization`,
    `StringLookup`, a `tf.lookup` table that a layer has as an attribute) are in the
    file, and inputs may be strings.

    The input is called "inputs"; of a model with several, they have its inputs'
    names. Nothing checks their values: what is NaN comes out as NaN.

    `form="generator"` stores what kernels are made of, once, and of each draw its
    codes and BatchNorm moments; each call makes the kernels. `"materialized"` stores
    the kernels of all draws: less to compute, and smaller too as long as there are
    fewer draws than the generator has hidden units. What draws have in common is
    stored once. Gaussian kernels (`Bayes*`, `MNF*`) have the latter form alone,
    but for `deterministic`. Masks of dropout go by an example's place in the batch.
    What a scorer was fitted to is there too, for each draw: of `NearestNeighbours`
    all the features that it compares with.

    Args:
        predictor: a `tfhyper.PosteriorPredictor`, `tfhyper.DeepEnsemble` or
            `tfhyper.LaplacePredictor`, calibrated. Keras must run on TensorFlow: a
            predictor that was saved on another backend can be loaded there.
        path: the folder to write. TensorFlow Serving wants a number for its last
            part: "models/name/1". It appears when it is complete.
        form: `"generator"` or `"materialized"`; `None` for the former where the
            posterior has it.
        overwrite: bool, replace a SavedModel that is there.
        preprocessing: `None`, or how the file makes the network's inputs of uint8
            images, which its signatures then take.
        class_names: names of the classes, by label.
        metadata: entries of your own, JSON values. With the predictor's settings
            they are in the signature `metadata` and in assets/tfhyper.json.
        sampling: bool, add the signature `sample`, `num_draws` fresh draws per
            call, for predictors that draw.
        sampling_inputs: for `sampling`, and for it required where draws have
            BatchNorm moments of their own: training inputs, normalised, that each
            fresh draw takes them from, as from one batch of `estimate_batch_norm`. They
            are in the file and go through the network once per draw and call: some
            hundreds will do. Not used where draws have none.

    Raises:
        TypeError: for a predictor or an argument of another type.
        ValueError: for an argument out of range, a form that the posterior has not,
            a model that was trained since, one that calls Python or reads a table
            of no layer, or if `estimate_batch_norm` is due.
        FileExistsError: if there is something at `path`, and `overwrite` is not set
            or it is no SavedModel.
        RuntimeError: if Keras runs on another backend.

    Example:

    >>> tfhyper.export.saved_model(
    ...     predictor, "models/fashion/1", preprocessing=tfhyper.export.Preprocessing(
    ...         mean=[0.286], std=[0.353]))
    >>> serve = tf.saved_model.load("models/fashion/1").signatures["serving_default"]
    >>> serve(inputs=np.zeros((128, 8, 8, 1), "uint8"))["epistemic"].shape
    TensorShape([128])
    """
    check_predictor(predictor, preprocessing)
    check_bool("sampling", sampling)
    if sampling_inputs is not None and not sampling:
        raise ValueError(
            "`sampling_inputs` is for `sampling=True`. Received: sampling=False"
        )
    path = os.path.abspath(check_path("path", path))
    _check_free(path, overwrite)

    # Not at the top: tfhyper is imported without TensorFlow.
    from tfhyper.export.module import Exported

    exported = Exported(
        predictor, form, preprocessing, class_names, metadata, sampling, sampling_inputs
    )
    exported.check()
    with whole_folder(path) as folder:
        exported.save(folder)
        _check_free(path, overwrite)  # it may have come in the meantime


def _check_free(path: str, overwrite: bool) -> None:
    check_free(path, overwrite, _is_saved_model, "a folder that holds a SavedModel")


def _is_saved_model(path: str) -> bool:
    return os.path.exists(os.path.join(path, "saved_model.pb"))
