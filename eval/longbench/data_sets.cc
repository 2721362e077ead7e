#include "eval/longbench/longbench.h"
#include "eval/metrics/similarity.h"
#include "tools/text.h"

namespace kvedit::eval::longbench {
namespace {

double f1(const Reference& r) { return qa_f1(r.prediction, r.truth); }
double f1_zh(const Reference& r) { return qa_f1_chinese(*r.jieba, r.prediction, r.truth); }
double rouge(const Reference& r) { return rouge_l(r.prediction, r.truth); }
double rouge_zh(const Reference& r) { return rouge_l_chinese(*r.jieba, r.prediction, r.truth); }
double classes(const Reference& r) { return classification(r.prediction, r.truth, r.classes); }
double counted(const Reference& r) { return count(r.prediction, r.truth); }
double retrieved(const Reference& r) { return retrieval(r.prediction, r.truth, "Paragraph "); }
double retrieved_zh(const Reference& r) { return retrieval(r.prediction, r.truth, "段落"); }
double code(const Reference& r) { return code_similarity(r.prediction, r.truth); }

}  // namespace

const std::vector<DataSet>& data_sets() {
  static const std::vector<DataSet> table = {
      {"narrativeqa", 128, f1, "F1",
       "You are given a story, which can be either a novel or a movie script, and a question. Answer the "
       "question asconcisely as you can, using a single phrase if possible. Do not provide any "
       "explanation.\n\nStory: {context}\n\nNow, answer the question based on the story asconcisely as "
       "you can, using a single phrase if possible. Do not provide any explanation.\n\nQuestion: "
       "{input}\n\nAnswer:"},
      {"qasper", 128, f1, "F1",
       "You are given a scientific article and a question. Answer the question as concisely as you can, "
       "using a single phrase or sentence if possible. If the question cannot be answered based on the "
       "information in the article, write \"unanswerable\". If the question is a yes/no question, answer "
       "\"yes\", \"no\", or \"unanswerable\". Do not provide any explanation.\n\nArticle: {context}\n\n "
       "Answer the question based on the above article as concisely as you can, using a single phrase or "
       "sentence if possible. If the question cannot be answered based on the information in the article, "
       "write \"unanswerable\". If the question is a yes/no question, answer \"yes\", \"no\", or "
       "\"unanswerable\". Do not provide any explanation.\n\nQuestion: {input}\n\nAnswer:"},
      {"multifieldqa_en", 64, f1, "F1",
       "Read the following text and answer briefly.\n\n{context}\n\nNow, answer the following question "
       "based on the above text, only give me the answer and do not output any other words.\n\nQuestion: "
       "{input}\nAnswer:"},
      {"multifieldqa_zh", 64, f1_zh, "F1",
       "阅读以下文字并用中文简短回答：\n\n{context}"
       "\n\n现在请基于上面的文章回答下面的问题，只告诉我答案，不要输出任何其他字词。\n\n问题：{input}"
       "\n回答：",
       true},
      {"hotpotqa", 32, f1, "F1",
       "Answer the question based on the given passages. Only give me the answer and do not output any "
       "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
       "given passages. Only give me the answer and do not output any other words.\n\nQuestion: "
       "{input}\nAnswer:"},
      {"2wikimqa", 32, f1, "F1",
       "Answer the question based on the given passages. Only give me the answer and do not output any "
       "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
       "given passages. Only give me the answer and do not output any other words.\n\nQuestion: "
       "{input}\nAnswer:"},
      {"musique", 32, f1, "F1",
       "Answer the question based on the given passages. Only give me the answer and do not output any "
       "other words.\n\nThe following are given passages.\n{context}\n\nAnswer the question based on the "
       "given passages. Only give me the answer and do not output any other words.\n\nQuestion: "
       "{input}\nAnswer:"},
      {"dureader", 128, rouge_zh, "ROUGE-L",
       "请基于给定的文章回答下述问题。\n\n文章：{context}\n\n请基于上述文章回答下面的问题。\n\n问题：{input}"
       "\n回答：",
       true},
      {"gov_report", 512, rouge, "ROUGE-L",
       "You are given a report by a government agency. Write a one-page summary of the "
       "report.\n\nReport:\n{context}\n\nNow, write a one-page summary of the report.\n\nSummary:"},
      {"qmsum", 512, rouge, "ROUGE-L",
       "You are given a meeting transcript and a query containing a question or instruction. Answer the "
       "query in one or more sentences.\n\nTranscript:\n{context}\n\nNow, answer the query based on the "
       "above meeting transcript in one or more sentences.\n\nQuery: {input}\nAnswer:"},
      {"multi_news", 512, rouge, "ROUGE-L",
       "You are given several news passages. Write a one-page summary of all news. "
       "\n\nNews:\n{context}\n\nNow, write a one-page summary of all the news.\n\nSummary:"},
      {"vcsum", 512, rouge_zh, "ROUGE-L",
       "下面有一段会议记录，请你阅读后，写一段总结，总结会议的内容。\n会议记录：\n{context}\n\n会议总结：",
       true},
      {"trec", 64, classes, "classification",
       "Please determine the type of the question below. Here are some examples of "
       "questions.\n\n{context}\n{input}",
       false, false, true},
      {"triviaqa", 32, f1, "F1",
       "Answer the question based on the given passage. Only give me the answer and do not output any "
       "other words. The following are some examples.\n\n{context}\n\n{input}",
       false, false, true},
      {"samsum", 128, rouge, "ROUGE-L",
       "Summarize the dialogue into a few short sentences. The following are some "
       "examples.\n\n{context}\n\n{input}",
       false, false, true},
      {"lsht", 64, classes, "classification", "请判断给定新闻的类别，下面是一些例子。\n\n{context}\n{input}",
       false, false, true},
      {"passage_count", 32, counted, "count",
       "There are some paragraphs below sourced from Wikipedia. Some of them may be duplicates. Please "
       "carefully read these paragraphs and determine how many unique paragraphs there are after removing "
       "duplicates. In other words, how many non-repeating paragraphs are there in "
       "total?\n\n{context}\n\nPlease enter the final count of unique paragraphs after removing "
       "duplicates. The output format should only contain the number, such as 1, 2, 3, and so on.\n\nThe "
       "final answer is: "},
      {"passage_retrieval_en", 32, retrieved, "retrieval",
       "Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph "
       "the abstract is from.\n\n{context}\n\nThe following is an abstract.\n\n{input}\n\nPlease enter "
       "the number of the paragraph that the abstract is from. The answer format must be like \"Paragraph "
       "1\", \"Paragraph 2\", etc.\n\nThe answer is: "},
      {"passage_retrieval_zh", 32, retrieved_zh, "retrieval",
       "以下是若干段落文字，以及其中一个段落的摘要。请确定给定的摘要出自哪一段。\n\n{context}"
       "\n\n下面是一个摘要\n\n{input}"
       "\n\n请输入摘要所属段落的编号。答案格式必须是\"段落1\"，\"段落2\"等格式\n\n答案是："},
      {"lcc", 64, code, "code similarity",
       "Please complete the code given below. \n{context}Next line of code:\n", false, false},
      {"repobench-p", 64, code, "code similarity",
       "Please complete the code given below. \n{context}{input}Next line of code:\n", false, false}};
  return table;
}

const DataSet& find_data_set(std::string_view name) {
  std::string_view plain = name;
  if (plain.ends_with("_e")) plain.remove_suffix(2);
  for (const DataSet& set : data_sets()) {
    if (set.name == plain) return set;
  }
  fail(ErrorCode::not_found, "eval", "no data set '", name, "' of LongBench; there are ",
       join(data_sets(), &DataSet::name));
}

}  // namespace kvedit::eval::longbench
