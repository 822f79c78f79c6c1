#!/usr/bin/env bash
# The default model from the two csv files, its teachers included: launch/default_model.sh FOLDER
#
# FOLDER holds fer2013.csv and fer2013new.csv and gets runs/ and mini_xception_wild.bundle. What was interrupted goes on
# where it was when the same command is given again. Five folds of a wide VGG teach a wide mini-Xception, which is then
# trained on for faces unlike FER2013's. An H100 takes about 8 minutes for the folds and the first model together; the
# last part takes about 85 minutes of CPU time. The shipped bundle was then calibrated, and its prior chosen, on faces in
# the wild: fer-jax evaluate --bundle=mini_xception_wild.bundle --data=FACES --calibrate; its card has the values.
set -euo pipefail
cd "$1"
fer-jax train --config=vgg:wide --mode=crossval --workdir=runs/vgg_wide_folds --config.data.path=fer2013.csv \
  --config.data.fold_split=Training --config.data.folds=5 --config.data.clean=drop_leaks --config.epochs=50
fer-jax train --config=xception:wide --workdir=runs/xception_wide --config.data.path=fer2013.csv
fer-jax export --workdir=runs/xception_wide --out=runs/xception_wide.bundle
fer-jax train --config=xception:wild --workdir=runs/xception_wild --config.data.path=fer2013.csv
fer-jax export --workdir=runs/xception_wild --out=mini_xception_wild.bundle --name=mini_xception_wild --compact=float16
