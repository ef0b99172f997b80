// Chinese translations of answers.

export default {
  "Back to the text": "返回正文",
  "Document": "文档",
  "Done": "完成",
  "Footnote {number}": "脚注 {number}",
  "Image: {name}": "图片：{name}",
  "Not done": "未完成",
  "Reasoning": "推理过程",
  "Reasoning …": "正在推理……",
  "Source {number}: {name}": "来源 {number}：{name}",
  "Sources": "来源",
  "Table": "表格",
  "This formula cannot be shown.": "无法显示此公式。",
  "page {page}": "第 {page} 页",
  "text": "文本",
  "without a description": "无说明",
};
