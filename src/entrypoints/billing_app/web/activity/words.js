// The words of the reader's language.

import { de } from "./words-de.js";
import { en } from "./words-en.js";

const LANGUAGES = { en, de };

/** Return the words of the first language that there are words for, and its tag; English if there are none. */
export function wordsFor(tags) {
  const tag = tags.find((each) => primary(each) in LANGUAGES) ?? "en";
  return { words: LANGUAGES[primary(tag)], tag };
}

const primary = (tag) => tag.toLowerCase().split("-")[0];
