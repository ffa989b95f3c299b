"""Environments of other libraries behind the same interface: Brax, MuJoCo Playground, Craftax."""
