"""Write docs/config.md, the page of every config key: python -m tools.config_page"""

from fer_jax import files
from fer_jax.config import page

if __name__ == "__main__":
    with files.atomic_path("docs/config.md") as tmp:
        tmp.write_text(page.text(), encoding="utf-8")
