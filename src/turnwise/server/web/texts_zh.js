// Chinese translations, by the English text. One object per view, so that a view's texts stand together.

const common = {};

export default { ...common };
