"""The recipes: each file has get_config(variant). docs/how-to/train.md says how to write one."""
