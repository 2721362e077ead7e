#include "model/adapter/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "kvedit/error.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

std::string write(const std::string& bytes) {
  const std::string path = temporary_path("test.safetensors");
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string read_error(const std::string& bytes, ErrorCode code) {
  try {
    SafetensorsFile file(write(bytes));
    return "loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
}

const char* const kHeader =
    R"({"__metadata__":{"format":"pt","shape":"any text"},)"
    R"("second":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},)"
    R"("first":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("empty":{"data_offsets":[14,14],"shape":[0,9223372036854775807],"dtype":"I64"},)"
    R"("scalar":{"dtype":"BF16","shape":[],"data_offsets":[14,16]}}   )";

TEST(Safetensors, GivesNamesTypesShapesAndBytes) {
  const std::string data = "0123456789ABCDEF";
  const SafetensorsFile file(write(safetensors_bytes(kHeader, data)));
  ASSERT_EQ(file.tensors().size(), 4U);
  const auto text = [](const SafetensorsEntry& entry) {
    return std::string(reinterpret_cast<const char*>(entry.data.data()), entry.data.size());
  };
  const SafetensorsEntry& first = file.tensors()[0];  // by place, not by the header's order
  EXPECT_EQ(first.name, "first");
  EXPECT_EQ(first.type, "F32");
  EXPECT_EQ(first.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(text(first), "01234567");
  EXPECT_EQ(file.tensors()[1].name, "second");
  EXPECT_EQ(text(file.tensors()[1]), "89ABCD");
  EXPECT_EQ(file.tensors()[2].name, "empty");
  EXPECT_TRUE(file.tensors()[2].data.empty());
  EXPECT_EQ(file.tensors()[3].shape.size(), 0U);
  EXPECT_EQ(text(file.tensors()[3]), "EF");
}

TEST(Safetensors, AFileWithoutTensorsIsEmpty) {
  EXPECT_TRUE(SafetensorsFile(write(safetensors_bytes("{}", ""))).tensors().empty());
}

TEST(Safetensors, EveryCutIsRefused) {
  const std::string whole = safetensors_bytes(kHeader, "0123456789ABCDEF");
  for (size_t size = 0; size < whole.size(); size++) {
    EXPECT_NE(read_error(whole.substr(0, size), ErrorCode::corrupt), "loaded") << size;
  }
  EXPECT_NE(read_error(whole + "x", ErrorCode::corrupt).find("17 bytes of data"), std::string::npos);
}

TEST(Safetensors, AHeaderLengthPastTheFileOrTheLimitIsRefused) {
  std::string bytes = safetensors_bytes("{}", "");
  for (const int at : {0, 3, 7}) {
    bytes = safetensors_bytes("{}", "");
    bytes[at] = '\x7F';
    EXPECT_NE(read_error(bytes, ErrorCode::corrupt).find("at most 100000000"), std::string::npos);
  }
}

struct BadHeader {
  const char* header;
  const char* part;  // of the message
};

// With 8 bytes of data behind each.
TEST(Safetensors, AWrongHeaderIsNamed) {
  const BadHeader cases[] = {
      {"", "not a safetensors file"},
      {"[]", "not a safetensors file"},
      {R"({"a":)", "no JSON"},
      {R"({} {})", "no JSON"},
      {"{\"\xFF\":{}}", "no JSON"},
      {R"({"a":1})", "1 where none belongs, at \"a\""},
      {R"({"a":null})", "null where none belongs"},
      {R"({"a":[]})", "a list where none belongs"},
      {R"({"a":"F32"})", "a text where none belongs"},
      {R"({"a":{}})", "tensor \"a\" not all of dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "not all of"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}})", "\"strides\""},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "the key \"dtype\" twice"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{}})", "the key \"a\" twice"},
      {R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", "4 where none belongs, at \"a\" dtype"},
      {R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})", "a list where none belongs"},
      {R"({"a":{"dtype":"F32","shape":{"b":2},"data_offsets":[0,8]}})", "an object where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "a list where none belongs"},
      {R"({"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", "a text where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "-2 where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "2.0 where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[true],"data_offsets":[0,8]}})", "a truth value where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}})", "where none belongs"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "1 data_offsets, not 2"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "3 data_offsets, not 2"},
      {R"({"__metadata__":{"format":1}})", "1 where none belongs"},
      {R"({"__metadata__":{"format":{}}})", "an object where none belongs"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", "the key \"a\" twice"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "lies at 8 to 0"},
      {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", "lies at 0 to 16"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "lies at 4 to 8; the one before it ends at 0"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "8 bytes of data, its tensors end at 4"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "tensor \"b\""},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "has 8 bytes"},
      {R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}})", "shape in F16"},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "has 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,8]}})", "has 8 bytes"}};
  for (const BadHeader& c : cases) {
    const std::string message = read_error(safetensors_bytes(c.header, "01234567"), ErrorCode::corrupt);
    EXPECT_NE(message.find(c.part), std::string::npos) << c.header << "\n" << message;
  }
}

TEST(Safetensors, AnUnknownTypeOrManyDimensionsAreUnsupported) {
  const BadHeader cases[] = {{R"({"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}})",
                              "tensor \"a\" has the unknown type \"F4\""},
                             {R"({"a":{"dtype":"U8","shape":[8,1,1,1,1,1,1,1,1],"data_offsets":[0,8]}})",
                              "9 dimensions, at most 8"}};
  for (const BadHeader& c : cases) {
    const std::string message = read_error(safetensors_bytes(c.header, "01234567"), ErrorCode::unsupported);
    EXPECT_NE(message.find(c.part), std::string::npos) << message;
  }
}

TEST(Safetensors, NestingIsRefusedAtOnce) {
  for (const BadHeader& c : {BadHeader{"[", "a list where none belongs"},
                             BadHeader{"{\"shape\":", "an object where none belongs"}}) {
    std::string deep = "{\"a\":";
    for (int i = 0; i < 1000000; i++) deep += c.header;
    const std::string message = read_error(safetensors_bytes(deep, ""), ErrorCode::corrupt);
    EXPECT_NE(message.find(c.part), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace kvedit
