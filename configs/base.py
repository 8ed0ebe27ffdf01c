"""The default: pixel avatars that follow their captions, from nothing, on a laptop CPU.

    t2igan train --config=base --workdir=runs/base

Cost: 25 minutes of CPU time, which were 24 by the clock on two CPU cores that a dozen other programs wanted, too. The
first two phases alone took 14 min 12 s (20 minutes of CPU time) on almost quiet ones, nothing compiled yet. The result
is that of the first two, which the others, with which editing and describing begin, leave as it is.
Result, worst of seeds 0, 1, 2, attributes right as a classifier of the real pictures sees them (mean / all eight at
once; on real pictures it is right to 1.000 / 1.000 and 0.999 / 0.992):

    test    0.997 / 0.979      unseen    0.992 / 0.936

Measured with all 6,227 pictures of `train`, before 347 of them became the validation split, and with choices made on
`test`.

Every key of the configuration stands here once, with its default. The other files in this folder start from this one
and change a few keys; the command line changes any key by `--config.group.key=value`.
"""

from ml_collections import ConfigDict, FieldReference


def get_config() -> ConfigDict:
    """Returns the default configuration, locked: a key that is not here cannot be set."""
    config = ConfigDict()

    config.seed = 0  # the one root seed: parameters, batches, noise
    # Any of "autoencoder", "text", "generator", "discriminator", "adversarial", "text_matching", "joint", "inversion",
    # "completion", "caption", in order. Leaving out "text" trains on an untrained text encoder; "inversion" and
    # "caption" are what editing and describing begin with.
    config.phases = ("text", "adversarial", "inversion", "caption")
    config.init_from = ""  # another run's folder, its snapshot, or models/NAME: begin with what fits of its networks
    config.init_which = "latest"  # of that folder; or "best": by its best metric, of what was evaluated on the way
    config.compute_dtype = "float32"  # or "bfloat16": what networks compute in; parameters, losses stay float32

    # Captioned pictures: where they are and how they become arrays.
    config.data = data = ConfigDict()
    data.source = "pixel_avatars"  # (embedded), or a folder, an archive, a table... of your own: docs/data.md
    data.image_size_px = 16  # pictures become squares of this size
    data.channels = 3  # 3 = RGB, 1 = grey, 4 = RGB with transparency, which is drawn too
    data.resize = "crop"  # to a square by its centre; "pad" adds `background`; "stretch" changes proportions
    data.resample = "auto"  # "lanczos", "area", "nearest"; "auto" keeps pixel art sharp and is "lanczos" otherwise
    data.background = (255, 255, 255)  # what shines through transparent pixels; with 4 channels, for figures alone
    data.train_split = "train"
    data.val_split = "val"  # choices are made on it: guard, best checkpoint, figures on the way
    data.test_split = "test"  # measured once, at the end
    data.val_fraction = 0.05  # share of the training pictures held out by a hash where the data has no such split
    data.test_fraction = 0.05  # the same for the test split
    data.min_held_out = 32  # pictures held out for each, at least, but no more than an eighth of the data
    data.unlabelled_source = ""  # more pictures, without captions, for what learns from pictures alone (docs/data.md)
    data.caption_field = ""  # which text field holds the caption; "" = "text", "caption", "captions", ...
    data.encoding = ""  # of texts that are not UTF-8: "cp1252", "cp932"...; "" = found out, or said that it cannot be
    data.captions = "all"  # of a picture with several, one is drawn at random each time; "first" = always that
    data.language = ""  # of text files with translations ("de.utf8=..."): "de"; "" = the lines that are none
    data.caption_templates = ("a picture of {label}",)  # captions of data that has labels only
    data.label_field = "label"  # which field holds that label
    data.folder_labels = "auto"  # folders' names as labels: where nothing else is there; "use": too; "ignore": never
    data.caption_from_name = ""  # captions in the names of files: "{caption}_{}", or a regular expression
    data.follow_links = False  # symbolic links that lead out of the folder
    data.min_usable = 0.5  # share of the pictures that must be usable to go on
    data.cache_dir = ""  # decoded pictures are kept there; "" = ~/.cache/t2igan
    data.cache_gb = 10.0  # at most (GB, all data sets together); larger data is decoded anew at every visit
    data.workers = 0  # processes that decode at every visit; 0 = one a core
    data.tfds_dir = ""  # where TFDS data sets are prepared; "" = TFDS's own default (~/tensorflow_datasets)
    data.tfds_files_dir = ""  # the data set's original files, where they are at hand: nothing is downloaded then

    # Captions as token ids: byte-level BPE learned from the training captions.
    config.tokenizer = tokenizer = ConfigDict()
    tokenizer.vocab_size = 512  # at most; ids 0, 1, 2 are padding, begin, end
    tokenizer.max_tokens = 32  # longer training captions are cut, longer prompts refused
    tokenizer.lowercase = True

    # The space in which the game is played (docs/space.md). Sizes and units below are those of that space: "px" are
    # places of its maps, and instead of units of [-1, 1] codes count in standard deviations.
    config.space = space = ConfigDict()
    space.kind = "pixels"  # "patches" = principal components, linear; "autoencoder" = learned, in a phase of that name
    space.factor = 4  # pixels of the side of what becomes one place of a map of codes
    space.channels = 8  # numbers a place; "patches" wants more, 16 or 24
    space.whitening = 0.5  # of "patches": 1 = components of equal variance, 0 = proportions as in pixels
    space.encoder_channels = (64,)  # of "autoencoder", from the codes' map size up, each further one twice the size
    space.decoder_channels = (96, 48)
    space.blocks = 2  # residual blocks at the codes' map size; one at the others

    # Networks. Maps grow from base_px by doubling, one entry of `channels` each, then by patch_px at the edge:
    # image_size_px (or, of codes, image_size_px / space.factor) = base_px * 2 ** (len(channels) - 1) * patch_px.
    config.text_encoder = text = ConfigDict()
    # Or "bag", pairs of neighbours, which needs no training; your own: docs/extending.md, likewise for all kinds.
    text.kind = "transformer"
    text.width = 64  # of the word vectors
    text.layers = 2
    text.heads = 4
    text.pooling_queries = 8  # learned queries that pool the words into the sentence
    text.sentence_dim = 128
    # "minilm", or a folder with a BERT, RoBERTa or CLIP text model, instead of layers and heads: docs/pretrained.md
    text.pretrained = ""
    text.pretrained_mode = "frozen"  # only a head on its vectors is trained; "tuned": all of it is
    text.pretrained_rate = 0.02  # tuned: its learning rate in the phase "text", as a share of the phase's
    text.pretrained_in_snapshot = True  # frozen: the snapshot holds its weights (float16), or else names their hash

    config.image_encoder = image = ConfigDict()  # the tower that teaches the text encoder in the first phase
    image.kind = "residual"
    image.channels = (64, 40)
    image.features = 128
    image.blocks = 1
    image.patch_px = 2

    config.generator = generator = ConfigDict()
    generator.kind = "residual"  # or "mlp": fully connected, `channels` are then the widths of its layers
    generator.z_dim = 64
    generator.channels = (96, 64, 32)
    generator.base_px = 4
    generator.patch_px = 1
    generator.blocks = 1  # residual blocks a map size
    generator.style_dim = 256
    generator.attention_from_px = 8  # maps of this size (in pixels of the picture) and larger read words; 0 = none
    generator.attention_heads = 4

    config.discriminator = discriminator = ConfigDict()
    discriminator.kind = "residual"  # or "mlp"; "projected": heads on pretrained features, docs/pretrained.md
    discriminator.channels = (96, 64, 32)
    discriminator.features = 256
    discriminator.blocks = 1
    discriminator.patch_px = 1
    discriminator.sees = "space"  # what the generator draws; "pictures": of codes those that they are decoded to
    discriminator.normalisation = "none"  # spectral, weight: kernels of norm 1 at most
    discriminator.dropout = 0.0  # share of the last features that is dropped at random
    discriminator.multi_scale = False  # True: a head on every map size, their logits averaged
    discriminator.features_from = ""  # projected: "efficientnet_lite0", or its file of weights (.pth)
    discriminator.features_px = 0  # projected: pictures are resized to this before; 0 = as they are, 64 at least

    config.inverter = inverter = ConfigDict()  # pictures back to noise (phases "inversion" and "generator")
    inverter.kind = "told"  # it reads the caption too, and says style offsets (phase "inversion"); or "residual"
    inverter.channels = (64, 48, 32)
    inverter.features = 256
    inverter.blocks = 1
    inverter.patch_px = 1
    inverter.prior_weight = 0.01  # keeps its noise normal, as the generator's is
    inverter.perceptual_weight = 0.1  # of the distance in the image tower's features, where there is one

    config.captioner = captioner = ConfigDict()  # features of the image encoder to captions (phase "caption")
    captioner.kind = "transformer"
    captioner.width = 96
    captioner.layers = 2
    captioner.heads = 4

    config.completer = completer = ConfigDict()  # pictures with a hidden part to whole ones (phase "completion")
    completer.kind = "comodulated"  # a copy of the generator, of kind "residual", that also sees what is visible
    completer.width = 1.0  # channels of its encoder, as a multiple of the generator's
    completer.features = 256

    # The adversarial game (docs/method.md).
    config.loss = loss = ConfigDict()
    loss.adversarial = "relativistic"  # minimax, non_saturating, least_squares, hinge, wasserstein
    loss.penalty = "r1"  # none, r2, r1_r2, wgan_gp, ma_gp, finite_difference
    # Gamma of R1 and R2; 10 is usual for wgan_gp, 2 for ma_gp; "auto", for both = 0.1 V / 203.4, with V the total
    # variance of the training pictures in the space of the game.
    loss.penalty_weight = FieldReference(0.1, field_type=object)
    loss.penalty_weight_end = FieldReference(0.1, field_type=object)
    loss.penalty_every = 1  # lazy: only every so many steps, and as much stronger
    loss.mismatch_weight = 0.0  # share of real pictures with another's caption among the fakes; 0.5 is usual
    loss.contrastive_weight = 0.0  # generated pictures matched to their captions by the text phase's image tower
    loss.cycle_weight = 0.0  # generated pictures read back by that tower: one minus the cosine to their caption
    loss.label_smoothing = 0.0  # real pictures are labelled so much less than 1
    loss.attack_steps = 0  # adversarial examples for the discriminator: 1 = fast gradient sign, more = projected
    loss.attack_size = 0.02  # their largest change of a value in [-1, 1]
    loss.reconstruction_weight = 0.0  # pictures reproduced by way of the inverter, which is trained along

    # What keeps drawings different: attracted by real pictures and repelled by each other, as the real ones are spread
    # (drifting); two of a caption as different as their noise (mode seeking). 10 and 0.01 are places to start from.
    loss.drifting_weight = 0.0
    loss.drifting_features = "tower"  # near in the features of the text phase's image tower; or "space": in the game's
    loss.drifting_captions = 1.0  # how much the distance of captions counts beside that of pictures; 0 = not at all
    loss.diversity_weight = 0.0

    # Of mean (x - G(z, c))^2, which draws a caption's one picture; "auto" = by pictures a caption, 0 from two on.
    loss.paired_weight = FieldReference(0.0, field_type=object)

    # Noises that are tried for each picture, there and in regression: the nearest drawing is held to it, so that those
    # of one caption may differ (conditional IMLE, Li et al. 2020, arXiv:2004.03590); 1 = any. 0 = none is tried: the
    # inverter learns along, and says which (a conditional variational autoencoder; inverter.prior_weight). That is
    # done where a caption is true of several pictures, or a part of another's (augment.partial_captions); of other
    # captions every noise draws the one picture.
    loss.paired_noises = 1

    loss.paired_pixel_weight = 0.0  # of mean |x - what the space decodes of G(z, c)|, where that is judged

    # What the discriminator is shown, and what is done to captions.
    config.augment = augment = ConfigDict()
    augment.kinds = ("flip", "translate", "scale", "rotate", "colour", "cutout")  # some of these; codes: 2nd and last
    augment.probability = 0.0  # of each, for each picture, real or generated; below 0.8, or it leaks
    augment.target = 0.0  # above 0 the probability adapts, to this mean sign of the logits of real pictures; 0.6
    augment.adapt_images = 100_000  # pictures in which it can go from 0 to 1
    augment.instance_noise = 0.0  # standard deviation of noise on all pictures, in units of [-1, 1]
    augment.instance_noise_end = 0.0
    augment.sentence_noise = 0.0  # of noise on the generator's sentence vectors, which have unit variance
    augment.partial_captions = 0.0  # share of pictures that come with a part of their caption, in every phase
    augment.caption_dropout = 0.0  # share of captions left out, so that `guidance` has something to lean away from

    # Phase "adversarial". Its length is the first of steps, images, epochs that is not 0; likewise for other phases.
    # Lengths and half-lives count the pictures of the generator's batches.
    config.train = train = ConfigDict()
    train.steps = 0
    train.images = 128_000
    train.epochs = 0.0
    train.batch_images = 32  # over all devices
    train.generator_learning_rate = 1e-3
    train.discriminator_learning_rate = 1e-3
    train.learning_rate_end = 0.05  # as a share of the above
    train.schedule = "cosine"  # constant, linear, exponential; for every setting here that has an end
    train.warmup_steps = 200  # at most half of all
    train.optimizer = "adam"  # or "optimistic_adam"
    train.beta1 = 0.0
    train.beta2 = 0.99
    train.beta2_end = 0.99
    train.clip_norm = 10.0  # the norm of each network's gradient, at most; 0 = unbounded
    train.adaptive_clip = 0.0  # a unit's gradient as a share of its weights, at most; 0 = unbounded, 0.01 is usual
    train.weight_decay = 0.0  # share of the kernels taken away a step at a learning rate of 1
    train.microbatches = 1  # parts that a batch is computed in, one after another, where memory is short
    train.discriminator_steps = 1  # updates of the discriminator for one of the generator, each on its own batch
    train.ema_half_life_images = 4_500.0
    train.ema_half_life_images_end = 4_500.0
    train.ema_ramp = 0.05  # early on the half-life is at most this share of the images seen; 0 = none
    train.ema_tracks = ()  # further averages, half-lives as multiples of the above: the best is kept at the end
    train.grow_share = 0.0  # share of the training in which pictures grow from the smallest map to full size; 0 = never
    train.fade_share = 0.5  # share of the time at each size in which it fades in
    train.tune_decoder = False  # True: that of an autoencoder goes on learning from the generator's loss
    train.tune_text = False  # True: the text encoder goes on learning from the generator's loss
    train.text_learning_rate = 1e-5  # if it does

    # Phase "text": the text encoder learns which caption belongs to which picture.
    config.pretrain_text = pretrain = ConfigDict()
    pretrain.steps = 0
    pretrain.images = 128_000
    pretrain.epochs = 0.0
    pretrain.batch_images = 128
    pretrain.learning_rate = 2e-3
    pretrain.learning_rate_end = 0.02
    pretrain.schedule = "cosine"
    pretrain.warmup_steps = 100  # at most half of all
    pretrain.beta2 = 0.99

    # Phase "autoencoder": pictures to codes and back, for config.space.kind = "autoencoder"; before all others.
    config.pretrain_autoencoder = coding = ConfigDict()
    coding.steps = 0
    coding.images = 64_000
    coding.epochs = 0.0
    coding.batch_images = 16
    coding.learning_rate = 2e-3
    coding.learning_rate_end = 0.02
    coding.schedule = "cosine"
    coding.warmup_steps = 100
    coding.beta2 = 0.99
    coding.gradient_weight = 0.5  # of the error's finite differences, beside the error itself
    coding.squared_weight = 0.0  # of the squared error: what is far off counts for more than its share of pixels
    coding.noise = 0.2  # largest standard deviation of noise on codes, which the decoder learns to forgive

    # Phase "generator": inverter and generator learn to complete masked pictures, or the generator to draw captions.
    config.pretrain_generator = completion = ConfigDict()
    completion.task = "complete"  # "regress" = mean (x - G(z, c))^2; "auto" = that below two pictures a caption
    completion.steps = 0
    completion.images = 64_000
    completion.epochs = 0.0
    completion.batch_images = 64
    completion.learning_rate = 1e-3
    completion.learning_rate_end = 0.05
    completion.schedule = "cosine"
    completion.warmup_steps = 100
    completion.beta2 = 0.99
    completion.masks = ("whole", "box", "half", "stroke")  # some of these or "around"; "whole" hides nothing
    completion.caption_dropout = 0.2  # share of pictures that are completed without their caption
    # The text encoder learns along, at so great a share of the learning rate; by regression 1 is a place to start.
    completion.text_rate = 0.0

    # Phase "discriminator": its trunk learns to answer questions about pictures.
    config.pretrain_discriminator = questions = ConfigDict()
    questions.steps = 0
    questions.images = 16_000
    questions.epochs = 0.0
    questions.batch_images = 64
    questions.learning_rate = 1e-3
    questions.learning_rate_end = 0.05
    questions.schedule = "cosine"
    questions.warmup_steps = 50
    questions.beta1 = 0.9
    questions.beta2 = 0.99
    questions.task = (
        "auto"  # the data's attributes where there are any, or else "transforms": turned, mirrored, cut out
    )
    questions.real_weight = 1.0  # of telling real pictures from the generator phase's, where there was one

    # Phase "text_matching": the text encoder learns from what the generator makes of its captions.
    config.text_matching = matching = ConfigDict()
    matching.steps = 0
    matching.images = 16_000
    matching.epochs = 0.0
    matching.batch_images = 64
    matching.learning_rate = 1e-4  # far below the text phase's: captions are easily forgotten
    matching.learning_rate_end = 0.05
    matching.schedule = "cosine"
    matching.warmup_steps = 50
    matching.beta2 = 0.99
    matching.cycle_weight = 1.0  # the image tower finds the caption of the generated picture
    matching.adversarial_weight = 0.1  # the discriminator finds caption and generated picture matching
    matching.anchor_weight = 1.0  # the text phase's loss on real pairs

    # Phase "joint": all three together, one step each. What is not said here is as in `train`.
    config.joint = joint = ConfigDict()
    joint.steps = 0
    joint.images = 32_000
    joint.epochs = 0.0
    joint.batch_images = 32
    joint.generator_learning_rate = 5e-5  # where the adversarial phase ends by default; 2e-4 lost some of what it had
    joint.discriminator_learning_rate = 5e-5
    joint.text_learning_rate = 1e-5
    joint.learning_rate_end = 0.05
    joint.schedule = "cosine"
    joint.warmup_steps = 100
    joint.discriminator_weight = 0.1  # lambda: what the text encoder has of the discriminator's loss
    joint.anchor_weight = 1.0  # and of the text phase's

    # Phase "inversion": after the game, an inverter learns to find the noise and the style offsets of pictures; a start
    # for edits, and all of a completion by --quality=fast. Wants config.inverter.kind="told" to be of use.
    config.inversion = inversion = ConfigDict()
    inversion.steps = 0
    inversion.images = 24_000
    inversion.epochs = 0.0
    inversion.batch_images = 16  # and as many that the generator draws
    inversion.learning_rate = 1e-3
    inversion.learning_rate_end = 0.03
    inversion.schedule = "cosine"
    inversion.warmup_steps = 50
    inversion.beta2 = 0.99
    inversion.masks = ("whole", "box", "half", "stroke", "around")  # what is hidden, equally often; "whole" = nothing
    inversion.kl_weight = 0.01  # keeps its noise normal, as the generator's is
    inversion.noise_weight = 0.03  # of finding the noise of pictures that the generator drew
    inversion.offset_weight = 0.02  # of the offsets' mean square

    # Phase "completion": a copy of the generator learns to complete pictures, by the game's loss and the error itself;
    # for `t2igan complete`. The rest is as in `train`, `loss` and `augment`, but for one update of the discriminator a
    # step, one microbatch, no growing, no further averages, and no terms of the generator's loss beside the game's.
    config.completion = completing = ConfigDict()
    completing.steps = 0
    completing.images = 16_000
    completing.epochs = 0.0
    completing.batch_images = 16
    completing.generator_learning_rate = 5e-4
    completing.discriminator_learning_rate = 5e-4
    completing.learning_rate_end = 0.05
    completing.schedule = "cosine"
    completing.warmup_steps = 50
    completing.masks = ("box", "half", "stroke", "around")  # what is hidden, equally often
    completing.visible_weight = 4.0  # of the error at visible places, beside the game's loss
    completing.hidden_weight = 4.0  # of that at hidden ones: more draws what is likely, less what is different

    # Phase "caption": a captioner learns to describe pictures, for `t2igan describe` and edits without --caption.
    config.captioning = captioning = ConfigDict()
    captioning.steps = 0
    captioning.images = 32_000
    captioning.epochs = 0.0
    captioning.batch_images = 64
    captioning.learning_rate = 2e-3
    captioning.learning_rate_end = 0.05
    captioning.schedule = "cosine"
    captioning.warmup_steps = 50
    captioning.beta2 = 0.99
    captioning.clip_norm = 1.0  # the norm of the gradient, at most; 0 = unbounded

    # Differential privacy of the training pictures, with public captions; experimental (docs/privacy.md). It wants
    # config.phases of "generator", which then learns from means, and "adversarial"; --config=private has the rest.
    config.privacy = privacy = ConfigDict()
    privacy.epsilon = 0.0  # what may be spent; the training ends when it is; 0 = no privacy
    # Of which so much, were it alone, releases sums of the pictures, one a feature of captions: what the phase
    # "generator" learns from, and loss.paired_weight holds the game to; 0 = none, and no such phase.
    privacy.means_epsilon = 0.0
    privacy.residual_norm = 0.3  # of what a picture differs from its mean, at most, as a share of a picture's largest
    privacy.means_features = "auto"  # "attributes" and pairs of them; "phrases" of captions; "auto" = what there is
    privacy.delta = 1e-5  # probability that the bound does not hold; well below 1 / training pictures
    privacy.noise_multiplier = 0.0  # noise as a multiple of clip_norm; 0 = as much as the length of `train` wants
    privacy.clip_norm = 1.0  # norm of the gradient of one picture, at most
    privacy.batch_images = 256  # pictures in an update of the discriminator, on average; train.batch_images are drawn
    privacy.microbatch_images = 0  # of which so many are computed at once, where memory is short; 0 = all
    privacy.accountant = "pld"  # or "rdp", which is faster and looser

    # The guard looks at each evaluation of the adversarial game, and at every logged value.
    config.guard = guard = ConfigDict()
    guard.num_images = 128  # pictures of each split that it looks at; 0 = only at values that are not finite
    guard.max_overfit = 0.9  # says so above: held-out pictures look to the discriminator like generated (1), real (0)
    guard.min_spread = 0.2  # says so below: variance of drawings of different captions as a share of the real ones'
    guard.rollbacks = 0  # times to go back to the last checkpoint instead, and on at a lower rate
    guard.rate_factor = 0.5  # by so much lower each time

    # Monitoring and keeping. Every `..._images` is counted in pictures of the phases "adversarial" and "joint".
    config.log = log = ConfigDict()
    log.every_images = 3_200  # metrics.jsonl, TensorBoard and the progress bar
    log.wandb = False  # Weights & Biases too: pip install 't2igan[wandb]'
    log.wandb_project = "t2igan"

    config.sample = sample = ConfigDict()
    sample.every_images = 32_000  # a sheet of the fixed captions; 0 = only at the end
    sample.captions = ()  # captions of the sheet; () = the first ones of the test split
    sample.num_captions = 8  # so many of them
    sample.num_seeds = 6  # pictures a caption, one a seed

    config.evaluate = evaluate = ConfigDict()
    evaluate.every_images = 32_000  # cheap figures during training; 0 = only at the end
    evaluate.num_images = 425  # generated and measured each time
    evaluate.at_end = True  # all figures on the test split when training is done
    evaluate.classifier_steps = (
        1_000  # how long the feature extractors learn, once a run: the classifier of attributes,
    )
    evaluate.probe_steps = 300  # and the two towers that match pictures and captions
    evaluate.inception_weights = ""  # a .safetensors file of Inception-v3 for FID; "" = not used (docs/metrics.md)
    evaluate.clip_weights = ""  # a folder with a CLIP in Hugging Face's layout; "" = not used
    evaluate.efficientnet_weights = ""  # "efficientnet_lite0" (a package: docs/pretrained.md), or a file; "" = not used

    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every_images = 32_000  # 0 = only at the end of a phase, and what did best at an evaluation
    checkpoint.keep_every_images = 0  # a snapshot that stays, in snapshots/; 0 = only the latest and the best
    checkpoint.keep_words = True  # snapshots can be asked for a word of the captions, and list none: docs/trust.md
    checkpoint.best_metric = (
        ""  # or "frechet_distance/probe", ...; "" = "attributes/mean", else "frechet_distance/probe"
    )

    # What only its owner can say of a model; it goes into the model card, and so into the snapshot.
    config.model_card = card = ConfigDict()
    card.license = ""  # of the model, as "CC-BY-4.0"; "" = not stated
    card.data_license = ""  # of the pictures and captions; "" = what t2igan knows of the data, if anything
    card.notes = ""  # what it is for, whom to ask: Markdown, as it stands
    card.examples = ()  # captions that the card, the page and the studio begin with; all who have the model see them

    config.devices = 0  # how many, of all processes; 0 = all accelerators, or a CPU; more than 1 on a CPU are simulated
    config.shard_devices = 1  # so many devices share one copy of parameters, averages and optimizer states
    config.remat = False  # True: recompute residual blocks in the backward pass: less memory, more time
    return config.lock()
