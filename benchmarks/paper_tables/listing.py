"""The trainings behind tables, each with its recipe."""

from paper_runs import Lab, Run
from report import markdown_table

from paper_tables.table import Table


def listing_of(lab: Lab, tables: dict[str, Table]) -> str:
    """Returns the trainings of some tables with their recipes, and these in full."""
    users: dict[Run, list[str]] = {}
    for name, table in tables.items():
        for run in table.runs(lab.sizes):
            users.setdefault(run, []).append(name)
    rows, recipes = [], {}
    for run, names in users.items():
        recipe = lab.recipe(run)
        recipes[recipe.name] = recipe
        decay = recipe.weight_decay if run.weight_decay is None else run.weight_decay
        rows.append(
            [
                run.name,
                str(lab.epochs(run)),
                str(lab.batch(run)),
                f"{decay:g}",
                recipe.name,
                " ".join(dict.fromkeys(names)),
            ]
        )
    header = ["training", "epochs", "batch", "decay", "recipe", "for"]
    texts = [recipe.describe(sources=True) for recipe in recipes.values()]
    return "\n\n".join([markdown_table(header, rows), *texts])
