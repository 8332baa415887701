"""The plain networks that draws make of a stochastic one."""
