// The default model inside the program: build/model/embedded-TYPE.wllm, mapped read-only with everything else that is
// constant. 4096: a page of its own in the kernel, and more than the 64 bytes that tensors need.
    .section .model, "a"
    .balign 4096
    .global bareflow_embedded_model, bareflow_embedded_model_end
bareflow_embedded_model:
    .incbin EMBEDDED_MODEL
bareflow_embedded_model_end:
    .section .note.GNU-stack, "", @progbits
