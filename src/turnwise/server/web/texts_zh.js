// Chinese translations, by the English text. Each view has a file of its own.

import admin from "./texts_zh_admin.js";
import answers from "./texts_zh_answers.js";
import chat from "./texts_zh_chat.js";
import classify from "./texts_zh_classify.js";
import data from "./texts_zh_data.js";
import docs from "./texts_zh_docs.js";
import handoffs from "./texts_zh_handoffs.js";
import history from "./texts_zh_history.js";
import improve from "./texts_zh_improve.js";
import monitor from "./texts_zh_monitor.js";
import playground from "./texts_zh_playground.js";
import review from "./texts_zh_review.js";
import runs from "./texts_zh_runs.js";
import settings from "./texts_zh_settings.js";
import tokens from "./texts_zh_tokens.js";

const common = {
  "(A server started with --context-policy drop_oldest leaves out older messages instead.)":
    "（以 --context-policy drop_oldest 启动的服务器会改为略去较早的消息。）",
  ", ": "、",
  "API": "API",
  "API key": "API 密钥",
  "Actions": "操作",
  "Cancel": "取消",
  "Chat": "聊天",
  "Classify": "分类",
  "Close": "关闭",
  "Command palette": "命令面板",
  "Conversation": "对话",
  "Copied.": "已复制。",
  "Copy": "复制",
  "Copy the code": "复制代码",
  "Dismiss": "关闭提示",
  "Go to: {page}": "前往：{page}",
  "Hand-offs": "人工接手",
  "Improve": "改进",
  "Kept in this tab only, until it is closed.": "仅保存在此标签页中，关闭后即删除。",
  "Keyboard shortcuts": "键盘快捷键",
  "Language: {name}": "语言：{name}",
  "Last read at {time}; read again every 15 seconds.": "上次读取：{time}；每 15 秒重新读取。",
  "Light or dark": "浅色或深色",
  "Monitor": "监测",
  "Not now": "暂不",
  "Numbers": "数值",
  "Pages": "页面",
  "Playground": "对比试验",
  "Review": "审核",
  "Search actions and conversations": "搜索操作和对话",
  "Show all actions": "显示所有操作",
  "Show this list": "显示此列表",
  "Skip to the content": "跳到内容",
  "The connection was lost before the answer was complete.": "回答尚未完成，连接已断开。",
  "The role of this key does not allow this page. Another key may.": "此密钥的角色无权使用本页。请换一个密钥。",
  "The server answered with status {status}.": "服务器返回了状态码 {status}。",
  "The server does not accept this key. It may have been revoked, or mistyped.": "服务器不接受此密钥。它可能已被撤销，或输入有误。",
  "The server is not running; this page continues as soon as it is back.": "服务器没有运行；它恢复后本页会自动继续。",
  "The server does not answer. Is it still running?": "服务器没有响应。它还在运行吗？",
  "The page shows what it read before, and tries again.": "本页显示先前读取的内容，并会重试。",
  "There is no such action.": "没有这样的操作。",
  "This page needs JavaScript. The API works without: see /openapi.json.": "本页需要 JavaScript。API 不需要：见 /openapi.json。",
  "This server asks for an API key.": "此服务器需要 API 密钥。",
  "Try again": "重试",
  "Use this key": "使用此密钥",
  "Your name": "你的名字",
  "letters, digits and signs without spaces": "字母、数字和符号，不含空格",
  "unknown time": "时间未知",
  "{first} {second}": "{first}{second}",
  "{time} local time": "当地时间 {time}",
};

export default {
  ...common, ...answers, ...tokens, ...chat, ...history, ...settings, ...playground,
  ...admin, ...classify, ...data, ...docs, ...handoffs, ...improve, ...monitor, ...review, ...runs,
};
