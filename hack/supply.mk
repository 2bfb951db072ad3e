# What our images are made of: see docs/security.md.
.PHONY: sbom audit
sbom: venv ## Write the images' bills of materials and licences into build/sbom
	@$(PY) -m supply sbom

audit: venv ## Compare every pinned dependency with the known advisories
	@$(PY) -m supply audit
