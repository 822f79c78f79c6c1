"""The recipes: each file has get_config(variant). docs/recipes.md tells how to write one."""
