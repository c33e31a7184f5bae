// For programs that carry no model of their own: an empty one in the place of embedded_model.S's.
    .section .model, "a"
    .global bareflow_embedded_model, bareflow_embedded_model_end
bareflow_embedded_model:
bareflow_embedded_model_end:
    .section .note.GNU-stack, "", @progbits
