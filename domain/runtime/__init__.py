"""How a container is started: the request, the plan of kernel steps, the tables behind it. Standard library only."""
