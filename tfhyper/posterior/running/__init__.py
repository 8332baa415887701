"""How the networks of draws are run over data, and fast."""
