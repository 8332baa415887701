"""Section 5.3: complexity of the paper's network, at every scale: nothing is trained.

The paper's exponents are a slip: a WRN-28-4 has 0.85 x 10^9 multiply-adds.
"""

from paper_runs import Lab
from report import markdown_table

from paper_tables.table import Found, Table
from tfhyper import analysis, kits, models


def make(lab: Lab) -> Found:
    """Returns the multiply-adds of the network and of its generators."""
    kit = kits.hyper("all_in_one", mean_kernel=False)
    found = analysis.complexity(models.wide_resnet(28, 4, kit=kit))
    rows = [
        ["network, per image", f"{found.per_image / 1e9:.2f} x 10^9 [0.85 x 10^3]"],
        ["generator, per batch", f"{found.per_batch / 1e9:.2f} x 10^9 [0.18 x 10^3]"],
        ["added in training, batches of 128", f"{found.overhead:.1%} [0.2 %]"],
    ]
    results = {
        "per_image": found.per_image,
        "per_batch": found.per_batch,
        "overhead": found.overhead,
    }
    text = markdown_table(["WRN-28-4, multiply-adds", "ours [paper]"], rows)
    return Found(text, results, analysis.complexity_plot(found, "WRN-28-4"))


TABLE = Table("Section 5.3: complexity", make, lambda sizes: [])
