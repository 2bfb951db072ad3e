# Container images: Docker builds them where `docker info` answers, otherwise buildah does, without a registry.
PY ?= .venv/bin/python
IMAGES_OUT ?= build/images
IMAGES := PYTHONPATH=hack $(PY) -m images

.PHONY: images image-operator image-iris images-clean lock-serving
images: venv ## Build every container image, as archives in build/images
	$(IMAGES) build all --out $(IMAGES_OUT)

image-operator: venv ## Build the operator's image
	$(IMAGES) build operator --out $(IMAGES_OUT)

image-iris: venv ## Build the images of the five iris releases
	$(IMAGES) build iris --out $(IMAGES_OUT)

images-clean: venv ## Remove what building images keeps in the user's cache
	$(IMAGES) clean

lock: lock-serving
lock-serving: venv
	.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  serving/iris/requirements.in -o serving/iris/requirements.txt
