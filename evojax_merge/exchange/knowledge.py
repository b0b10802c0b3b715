"""Words that mergekit knows, which a merge may do without.

A file that names one of them where it means nothing runs there, and the word is passed over. The
same happens here, with a warning. A word that is not known is a slip of the pen, and is refused.

The words are those of mergekit 0.1.5: the keys of its schema, the parameters of all its methods,
the options of its command line, which published files hold too, and the parts of the tensors' names
of its architectures.
"""

from evojax_merge.exchange.methods import METHODS

PARAMETERS = frozenset(p.name for method in METHODS.values() for p in method.parameters) | {
    "embed_slerp",
    "random_seed",
}
"""The parameters of all methods, and those that earlier versions had."""

KEYS = PARAMETERS | {
    "allow_crimes", "base_model", "chat_template", "clone_tensors", "copy_tokenizer", "cuda",
    "device", "dtype", "filter", "gpu_rich", "layer_range", "lazy_unpickle", "lora_merge_cache",
    "lora_merge_dtype", "low_cpu_memory", "merge_method", "model", "models", "modules",
    "multi_gpu", "name", "num_threads", "out_dtype", "out_shard_size", "pad_to_multiple_of",
    "parameters", "quiet", "read_to_gpu", "residual_weight", "safe_serialization", "slices",
    "source", "sources", "tokenizer", "tokenizer_source", "tokens", "transformers_cache",
    "trust_remote_code", "verbosity", "write_model_card",
}  # fmt: skip
"""The keys of a file, wherever they stand."""

PARTS = {
    "A_log", "DenseReluDense", "EncDecAttention", "LayerNorm", "SelfAttention", "W_pack",
    "Wqkv", "act_fn", "alpha_n", "alpha_p", "attention", "attention_layernorm",
    "attention_norm", "attn", "backbone", "bert", "beta", "bias", "block", "block_sparse_moe",
    "blocks", "c_attn", "c_fc", "c_fc2", "c_fc_0", "c_fc_1", "c_proj", "class_embedding",
    "classifier", "cls", "conv", "conv1", "conv1d", "conv2", "decoder", "deepstack_merger_list",
    "dense", "dense_4h_to_h", "dense_h_to_4h", "distilbert", "down_proj", "dt_bias", "dt_proj",
    "embd", "embed_in", "embed_out", "embed_positions", "embed_tokens", "embedding",
    "embedding_norm", "embeddings", "encoder", "encoder_attn", "encoder_attn_layer_norm", "eps",
    "expert_bias", "experts", "fc1", "fc2", "feed_forward", "feedforward_layernorm", "ffn",
    "ffn_norm", "final_layer_norm", "final_layernorm", "gamma", "gate", "gate_proj",
    "gate_up_proj", "gpt_neox", "h_a_", "in_proj", "input_layernorm", "input_linear",
    "intermediate", "inv_freq", "k_layernorm", "k_lin", "k_norm", "k_proj", "key",
    "language_model", "layer", "layer_norm", "layer_norm1", "layer_norm2", "layernorm_post",
    "layernorm_pre", "layers", "lin1", "lin2", "linear", "linear_1", "linear_2", "linear_fc1",
    "linear_fc2", "lm_head", "ln", "ln_1", "ln_2", "ln_attn", "ln_f", "ln_mlp", "ln_pre",
    "ln_q", "mamba", "masked_bias", "merger", "merging_layer", "mixer", "mlp",
    "mm_input_projection_weight", "mm_soft_emb_norm", "model", "norm", "norm1", "norm2",
    "norm_f", "o_proj", "operator_norm", "out_lin", "out_proj", "output", "output_layer",
    "output_layer_norm", "output_linear", "patch_conv", "patch_embed", "patch_embedding",
    "patch_merger", "pooler", "pos_embed", "position_embedding", "position_embeddings",
    "position_ids", "positional_embedding_vlm", "post_attention_layernorm",
    "post_feedforward_layernorm", "post_layernorm", "post_mlp_layernorm",
    "post_self_attn_layernorm", "pre_classifier", "pre_feedforward_layernorm",
    "pre_mlp_layernorm", "predictions", "proj", "q_layernorm", "q_lin", "q_norm", "q_proj",
    "qkv", "qkv_proj", "query", "query_key_value", "relative_attention_bias", "relative_pe",
    "roberta", "rotary_emb", "rotary_pos_emb", "router", "sa_layer_norm", "score", "self",
    "self_attention", "self_attn", "self_attn_layer_norm", "shared", "shared_expert",
    "shared_experts", "shared_mlp", "slopes", "tok_embeddings", "token_type_embeddings",
    "transformer", "up_proj", "v_lin", "v_proj", "value", "vision_adapter", "visual",
    "vocab_layer_norm", "vocab_projector", "vocab_transform", "w1", "w2", "w3", "weight",
    "wi_0", "wi_1", "wo", "word_embeddings", "wpe", "wqkv", "wte", "x_proj",
}  # fmt: skip
"""The parts of tensors' names between dots, without those of a single letter."""
