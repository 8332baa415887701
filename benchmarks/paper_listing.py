"""What --list prints: the trainings, what they cost, how far they are."""

from paper_claims import Claims
from paper_cost import Rates, cost
from paper_runs import Lab
from paper_shards import Work, state
from report import markdown_table


def listing(lab: Lab, work: list[Work], claims: Claims, rates: Rates) -> str:
    """Returns the trainings with their costs and recipes, and these in full."""
    rows, recipes = [], {}
    operations, hours, timed = 0.0, 0.0, True
    for one in work:
        run, recipe = one.run, lab.recipe(one.run)
        recipes[recipe.name] = recipe
        decay = recipe.weight_decay if run.weight_decay is None else run.weight_decay
        costs = cost(lab, run)
        needed = costs.hours(rates.of(run))
        operations += costs.operations
        hours, timed = hours + (needed or 0.0), timed and needed is not None
        rows.append(
            [
                one.name,
                str(lab.epochs(run)),
                str(lab.batch(run)),
                f"{decay:g}",
                recipe.name,
                f"{costs.parameters / 1e6:.2f}",
                f"{costs.operations:.2e}",
                f"{costs.memory / 2**30:.2f}",
                "-" if needed is None else f"{needed:.2f}",
                state(lab, one, claims),
                " ".join(one.tables),
            ]
        )
    header = ["training", "epochs", "batch", "decay", "recipe", "parameters, 10^6"]
    header += ["operations", "memory, GiB", "hours", "state", "for"]
    total = f"{len(work)} trainings, {operations:.3g} operations with their draws"
    total += f", {hours:.1f} hours on {rates.device}" if timed and rates.device else ""
    if not rates.device:
        total += "; --measure, gpu_hour.py or --rate tell the hours"
    texts = [recipe.describe(sources=True) for recipe in recipes.values()]
    return "\n\n".join([markdown_table(header, rows), total, *texts])
