"""The command line as it is shown."""

from fer_jax import environment


def test_of_paths_in_a_command_the_names_alone_are_shown():
    command = (
        "python -m fer_jax.main --config=configs/xception.py:best --workdir=/home/me/runs/x "
        "'--config.data.path=~/my faces/fer2013.csv' \"--config.teacher.runs=('runs/a', '/b/c/')\" --config.epochs=3"
    )
    assert environment.without_folders(command) == (
        "python -m fer_jax.main --config=configs/xception.py:best --workdir=x "
        "--config.data.path=fer2013.csv '--config.teacher.runs=('\"'\"'a'\"'\"', '\"'\"'c'\"'\"')' --config.epochs=3"
    )
    assert environment.without_folders("python /opt/me/tools/report.py --config=/home/me/x.py") == (
        "python report.py --config=x.py"
    )
