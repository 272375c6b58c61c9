#!/bin/sh
# Ask a running service with curl: examples/curl.sh clip.mp4 "what is said in it"   (or words.vtt)
# DPDF_URL is where it runs (default http://127.0.0.1:8000), DPDF_KEY the API key, if it asks for one.
set -eu
url=${DPDF_URL:-http://127.0.0.1:8000}
clip=${1:?usage: examples/curl.sh CLIP TRANSCRIPT}
words=${2:?usage: examples/curl.sh CLIP TRANSCRIPT}

# A transcript is text, or a .txt, .vtt or .srt file. --form-string: a text may begin with @ or <.
case $words in
    *.txt | *.vtt | *.srt) set -- --form "transcript=@$words" ;;
    *) set -- --form-string "transcript=$words" ;;
esac
if [ -n "${DPDF_KEY:-}" ]; then
    set -- "$@" --header "Authorization: Bearer $DPDF_KEY"
fi

# --retry: a 429 and a 503 are met with another attempt, after what Retry-After says.
# --fail-with-body: exit code 22 on an error, and its problem document is printed; by a file, from
# which curl removes what an earlier attempt was answered.
answer=$(mktemp)
trap 'cat "$answer"; rm -f "$answer"' EXIT
curl --silent --show-error --fail-with-body --retry 4 --retry-connrefused --output "$answer" \
    --form "video=@$clip" --form explain=true "$@" "$url/predict"
