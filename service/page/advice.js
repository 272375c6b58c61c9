// What to do about each warning, in a sentence; docs/guide.md says it at more length.

export const ADVICE = {
  text_truncated: "Send a shorter stretch of the clip with its own words, or captions with times.",
  no_audio: "If the clip should have sound, export it again with its sound track.",
  silent_audio: "Check that the microphone was on, and the right one.",
  short_audio: "Too little to hear a mood in: send a longer stretch.",
  no_video: "If the clip should have pictures, export it again with its video track.",
  no_face: "Record with the face to the camera, well lit and not too far away.",
  few_faces: "What the face says rests on few pictures: record with the face to the camera throughout.",
  several_faces: "Check that the right person was taken, or cut the clip to one person.",
  clip_damaged: "The score rests on what could be read: export or upload the clip again.",
  captions_unsorted: "They were sorted. Check that the file is the one that belongs to the clip.",
  captions_overlap: "If two people speak at once, send the captions of one.",
  captions_cut: "Split captions that stand for long, or correct their end.",
  caption_beyond_end: "Check that captions and clip belong together, and that the clip is whole.",
  captions_beyond_end: "Check that captions and clip belong together, and that the clip is whole.",
  openface_failed: "Tell the operator: the answer comes from the built-in tracker instead.",
};
