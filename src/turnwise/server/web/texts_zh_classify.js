// Chinese texts of the classification page.

export default {
  "Classifier": "分类器",
  "Result": "结果",
  "Text": "文本",
  "The classifier takes the text as one of no label: it is below the threshold.": "分类器认为此文本不属于任何标签：低于阈值。",
  "The tagger found nothing.": "标注器没有找到任何内容。",
  "The text is too long for the classifier: its end was not read.": "此文本超出分类器的长度上限，末尾部分未读取。",
  "This server has no classifier. Start it with: {command}": "此服务器没有分类器。启动命令：{command}",
};
