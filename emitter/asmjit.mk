# asmjit, freestanding: fetched from Debian's archive, compiled with the kernel's flags, one archive for kernel, host and
# sanitizer builds. Included by the Makefile after KERNEL_FLAGS. Needs only apt-get's download, no root.
ASMJIT_DIR := $(BUILD)/asmjit
ASMJIT_SOURCE := $(ASMJIT_DIR)/source/src
ASMJIT_STAMP := $(ASMJIT_DIR)/source/.unpacked

# What x86::Assembler with validation needs, of asmjit's 47 sources. core/cpuinfo.cpp, with its static constructor, is not among them.
ASMJIT_FILES := $(addprefix core/,archtraits assembler codeholder codewriter constpool emithelper emitter environment \
	funcargscontext globals inst type zone zonehash zonevector) $(addprefix x86/,x86assembler x86emithelper x86instapi x86instdb)
# The same for the library and for whoever includes its headers.
ASMJIT_DEFINES := $(addprefix -DASMJIT_,STATIC EMBED BUILD_RELEASE) $(addprefix -DASMJIT_NO_,FOREIGN AARCH64 AARCH32 \
	COMPILER BUILDER JIT TEXT LOGGING INTROSPECTION)
# Its code may do what ours may not. -Os would save 20 KB and cost a fifth of the speed.
ASMJIT_OPTIMISE := $(QUICK)
ASMJIT_FLAGS := $(filter-out -W%,$(KERNEL_FLAGS)) $(ASMJIT_OPTIMISE) -w $(ASMJIT_DEFINES) -I$(ASMJIT_SOURCE)
# The C library's names that are left, to those that asmjit_assembler.cpp defines.
ASMJIT_RENAMES := $(foreach name,malloc realloc free abort,--redefine-sym $(name)=bareflow_asmjit_$(name)) \
	--redefine-sym _ZdlPvm=bareflow_asmjit_delete

ASMJIT_OBJECTS := $(ASMJIT_FILES:%=$(ASMJIT_DIR)/%.o)
ASMJIT_USERS := $(foreach kind,kernel san host fuzz,$(BUILD)/$(kind)/emitter/asmjit_assembler.o)

$(ASMJIT_STAMP): emitter/fetch_asmjit.sh
	@mkdir -p $(ASMJIT_DIR)
	$(call say,FETCH,$(ASMJIT_SOURCE))
	$(Q)emitter/fetch_asmjit.sh $(ASMJIT_DIR)
	@touch $@
$(ASMJIT_OBJECTS): $(ASMJIT_DIR)/%.o: $(ASMJIT_STAMP) emitter/asmjit.mk
	@mkdir -p $(@D)
	$(call say,CXX,$@)
	$(Q)$(CXX) $(ASMJIT_FLAGS) -c $(ASMJIT_SOURCE)/asmjit/$*.cpp -o $@
$(ASMJIT_LIBRARY): $(ASMJIT_OBJECTS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rc $@.new $^
	$(Q)objcopy $(ASMJIT_RENAMES) $@.new
	@mv $@.new $@
# Without vptr checks: they want the type information that the library is compiled without.
$(ASMJIT_USERS): EXTRA_FLAGS := -isystem $(ASMJIT_SOURCE) $(ASMJIT_DEFINES) -fno-sanitize=vptr
$(ASMJIT_USERS): $(ASMJIT_STAMP) emitter/asmjit.mk
