"""Networks: which subnets, addresses, ports and names there are, and who has them. Pure."""
