"""What a model is asked to do with a text: each objective turns token ids into inputs and targets.

Use which when:
    next_token      decoders (GPT): every token from those before it
    prefix          decoders that read a first part in both directions (prefix LM of T5's table)
    masked          encoders (BERT, RoBERTa): tokens hidden in place
    next_sentence   encoders (BERT): does the second text follow the first?
    replaced        encoders (ELECTRA): which tokens did a small generator put there?
    spans           encoder-decoders (T5): hidden spans, each behind a sentinel
    denoising       encoder-decoders (BART): the whole text from a damaged one

All randomness is a hash of (seed, number of the text, position), see `scaling.lm.corpus.hashing`: a resumed run damages
its texts as it would have, on any number of devices.
"""
