"""Virtual hosts, match index, routes and their compiled policies, the snapshot. Decides; never waits."""
