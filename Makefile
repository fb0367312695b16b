run demo test check fresh:
	@./dev $@
.PHONY: run demo test check fresh
