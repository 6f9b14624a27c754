"""How a container is started: the request, the plan of kernel steps made from it, and the tables behind it. Stdlib only."""
