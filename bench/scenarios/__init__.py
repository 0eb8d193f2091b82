"""One module a scenario, each with `run(lab) -> Result`."""
