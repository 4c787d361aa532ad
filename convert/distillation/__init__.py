"""A large network teaches a small one."""
