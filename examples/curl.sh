#!/bin/sh
# Ask a running service with curl: examples/curl.sh clip.mp4 "what is said in it"   (or words.vtt)
# DPDF_URL is where it runs (default http://127.0.0.1:8000).
set -eu
url=${DPDF_URL:-http://127.0.0.1:8000}
clip=${1:?usage: examples/curl.sh CLIP TRANSCRIPT}
words=${2:?usage: examples/curl.sh CLIP TRANSCRIPT}

# A transcript is text, or a .txt, .vtt or .srt file.
case $words in
    *.txt | *.vtt | *.srt) transcript="transcript=@$words" ;;
    *) transcript="transcript=$words" ;;
esac

# --fail-with-body: exit code 22 on an error, and its problem document is printed.
exec curl --silent --show-error --fail-with-body \
    --form "video=@$clip" --form "$transcript" "$url/predict"
