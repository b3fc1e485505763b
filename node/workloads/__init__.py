"""What runs over the transport: one file for each workload, none of which touches a file or a clock."""
