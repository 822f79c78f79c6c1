"""Every key a config can have, with its default: the other configs start from this one and change what differs.

Not a recipe by itself: run `configs/quickstart.py` or `configs/xception.py`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The base of all configs. A key that is not here is refused on the command line."""
    c = ConfigDict()
    c.name = "default"
    c.seed = 0
    c.seeds = 1  # models trained in one program, of seed, seed + 1, ..., each as if alone
    c.epochs = 40
    c.batch_size = 128  # the global batch: all devices of all hosts together
    c.dtype = "auto"  # of the computation: float32, bfloat16; auto is bfloat16 on accelerators
    c.profile = False  # trace a few steps into the run's folder, for TensorBoard or XProf

    c.data = ConfigDict()
    c.data.source = "fer2013"  # a module of fer_jax/data/sources
    c.data.path = ""  # the file or folder of the data set
    c.data.cache_dir = ""  # "" is the user's cache directory
    c.data.pipeline = "tf"  # tf, device, auto
    c.data.split = "given"  # given, holdout, random, subject (see fer_jax/data/splits.py)
    c.data.train_split = "Training"
    c.data.select_split = "PublicTest"  # chooses the epoch; may be looked at as often as wanted
    c.data.test_split = "PrivateTest"  # scored once, after the choice; may be absent
    c.data.holdout = 0.1  # share of the select split where the data has none
    c.data.holdout_test = 0.1  # share of the test split where the data has none; 0 makes no test split
    c.data.folds = 10  # of --mode=crossval
    c.data.fold_by = "auto"  # subject, leave_one_subject_out, stratified, random; auto is subject where
    # people are known, else stratified
    c.data.clean = ()  # steps of fer_jax/data/clean.py, in order
    c.data.thin_happy_by = 3000  # images the step thin_happy removes from the training split
    c.data.drop_leaks = False  # drop training images that duplicate an image of another split
    c.data.votes = True  # ferplus: train against the distribution of votes, not the majority
    c.data.examples = 8000  # how many faces the synthetic source draws

    c.input = ConfigDict()
    c.input.size = 48  # pixels, height and width
    c.input.channels = 1  # 1 grey, 3 RGB (grey is repeated)
    c.input.crop = 0  # side of the square the network sees: random in training, central in
    # evaluation; 0 is the whole image
    c.input.scaling = "signed"  # signed [-1, 1], unit [0, 1]
    c.input.resize = "area"  # area, linear: how images of another size are brought to `size`

    c.augment = ConfigDict()
    c.augment.flip = 0.5  # probability
    c.augment.rotation = 0.0  # degrees, uniform in +-
    c.augment.shift = 0.0  # share of the side, uniform in +-, each axis its own
    c.augment.zoom = 0.0  # scale uniform in 1 +- zoom
    c.augment.interpolation = "bilinear"  # of the three above: bilinear, bicubic (which blurs less)
    c.augment.sharp_share = 0.0  # of the training, at its end, that does without the three: interpolation
    # blurs, and the images of an evaluation are sharp
    c.augment.crop_padding = 0  # pixels of edge padding before a random crop back to `size`
    c.augment.erase = 0.0  # probability of random erasing
    c.augment.erase_area = (0.02, 0.33)  # share of the image erased
    c.augment.erase_aspect = (0.3, 3.3)  # height over width
    c.augment.erase_fill = "noise"  # noise (uniform, each pixel its own), mean (of the image)
    c.augment.brightness = 0.0  # additive, share of the full range, uniform in +-
    c.augment.contrast = 0.0  # factor about the image's mean, uniform in 1 +- contrast
    c.augment.mixup = 0.0  # Beta parameter; 0 is off
    c.augment.cutmix = 0.0  # Beta parameter; 0 is off

    c.model = ConfigDict()
    c.model.name = "mini_xception"  # a key of fer_jax.models.registry
    c.model.args = ConfigDict()  # the model's own arguments
    c.model.pretrained = ""  # file or bundle of weights to start from, see fer_jax/models/pretrained.py

    c.loss = ConfigDict()
    c.loss.label_smoothing = 0.0
    c.loss.logit_adjustment = 0.0  # 1 trains for balanced accuracy: rare classes are named more often

    c.teacher = ConfigDict()  # see fer_jax/experiments/distillation.py
    c.teacher.runs = ()  # folders of finished runs with the same labels and input; () is no teacher
    c.teacher.weight = 0.7  # share of the target that is the teachers' opinion, the rest is the label
    c.teacher.view = "flip"  # flip, ten_crop: the views of a face whose logits a teacher averages
    c.teacher.temperature = 1.0  # above 1 softens the opinion

    c.optim = ConfigDict()
    c.optim.name = "adam"  # adam, adamw, lion, muon, nadam, radam, sgd
    c.optim.learning_rate = 1e-3  # peak
    c.optim.schedule = "cosine"  # constant, cosine, exponential, plateau; free averages the weights instead
    c.optim.warmup_epochs = 0.0
    c.optim.final_fraction = 0.0  # cosine: last learning rate over the peak; plateau: floor over the peak
    c.optim.decay_rate = 0.9  # exponential: factor an epoch
    c.optim.plateau_factor = 0.1
    c.optim.plateau_patience = 10  # epochs
    c.optim.momentum = 0.9  # sgd (Nesterov), and what stands for it in the schedule free
    c.optim.weight_decay = 0.0  # not applied to biases and BatchNorm
    c.optim.clip_norm = 0.0  # global norm of the gradient; 0 is off
    c.optim.accumulate_steps = 1  # gradients of this many batches make one update
    c.optim.trainable_from = ""  # beginning of a layer's name: those before it are frozen; "" trains all
    c.optim.backbone_learning_rate = 0.0  # peak for trained layers other than the head; 0 is learning_rate
    c.optim.lookahead_steps = 0  # updates between two of the slow weights; 0 is off
    c.optim.sam_radius = 0.0  # sharpness-aware: length of the step uphill before each gradient; 0 is off
    c.optim.ema_decay = 0.0  # exponential moving average of weights, evaluated in their place; 0 is off

    c.eval = ConfigDict()
    c.eval.batch_size = 512
    c.eval.every_epochs = 1
    c.eval.select_by = "accuracy"  # accuracy, macro_f1, loss: chooses the best checkpoint
    c.eval.tta = ()  # flip, ten_crop: scored by these views too, at the end
    c.eval.early_stop = 0  # evaluations without improvement before stopping; 0 is off
    c.eval.early_stop_metric = "loss"  # what early stopping and plateau watch

    c.parallel = ConfigDict()
    c.parallel.api = "pmap"  # pmap, shard_map
    c.parallel.sync_batchnorm = True  # statistics of the global batch, whatever the device count
    c.parallel.steps_per_dispatch = 32  # at most; fewer where an epoch is shorter

    c.checkpoint = ConfigDict()
    c.checkpoint.every_epochs = 1  # besides the best one and the last one
    c.checkpoint.every_steps = 0  # at the end of the chunk that reaches a multiple; 0 is never
    c.checkpoint.every_minutes = 10.0  # 0 is never
    c.checkpoint.keep = 2  # newest ones kept, the best beside them
    c.lock()
    c.model.args.unlock()  # each model has its own
    return c
