# A packed kernel (README.md "Packed kernels"): pack.sh makes it of the kernel's .debug.elf and of these.
PACK := arch/x86_64/packed
STUB_OBJECTS := $(patsubst %,$(BUILD)/stub/%.o,stub unpack lzma x86_filter)
PACK_PARTS := $(STUB_OBJECTS) $(addprefix $(PACK)/,pack.sh enter.S payload.S unpacked_header.S image.S stub.ld packed.ld)
# It runs once, and its bytes are counted (make size-report). GCC has no C++ library for 32 bits here.
STUB_FLAGS := -m32 -march=i686 -std=c++20 -Os -mregparm=3 -g -I. -MMD -MP -Wall -Wextra -Werror -Wshadow -ffreestanding -nostdinc++ \
	-fno-exceptions -fno-rtti -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-unwind-tables \
	-fno-pic -fno-pie -fomit-frame-pointer -mgeneral-regs-only -ffunction-sections

$(BUILD)/stub/%.o: $(PACK)/%.cpp $(PACK)/packed.mk $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(STUB_FLAGS) $(EXTRA_FLAGS) -c $< -o $@
