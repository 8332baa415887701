"""What Prometheus is told of the requests; README.md says what each number means."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "tfhyper_requests", "Requests that were answered.", ["model", "signature"]
)
REFUSED = Counter(
    "tfhyper_refused_requests", "Requests that were refused.", ["model", "reason"]
)
IMAGES = Counter("tfhyper_images", "Inputs that were answered.", ["model"])
UNKNOWN = Counter(
    "tfhyper_rejected_images", "Inputs whose answer was unknown.", ["model"]
)
BATCH = Histogram(
    "tfhyper_batch_images",
    "Inputs that went through the network together.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
UNCERTAINTY = Histogram(
    "tfhyper_mean_uncertainty",
    "Mean uncertainty of a request's inputs, in nats or the square of the unit.",
    ["model", "kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 10),
)
