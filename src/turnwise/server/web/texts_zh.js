// Chinese translations, by the English text. Each view has a file of its own.

import answers from "./texts_zh_answers.js";
import tokens from "./texts_zh_tokens.js";

export default { ...answers, ...tokens };
