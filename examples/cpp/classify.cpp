// Classifies one image with an artifact: ONNX Runtime's C++ API, raw uint8 pixels in, logits out, nothing of tks-edge.
//
//     g++ -std=c++17 -O2 classify.cpp -I "$ORT/include" -L "$ORT/lib" -lonnxruntime -Wl,-rpath,"$ORT/lib" -o classify
//     ./classify digits-t2-int8.onnx digit.raw

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 3) return std::fputs("usage: classify MODEL.onnx PIXELS.raw\n", stderr), 2;
  Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "classify");
  Ort::Session session(environment, argv[1], Ort::SessionOptions());
  const Ort::TypeInfo type = session.GetInputTypeInfo(0);
  const auto expected = type.GetTensorTypeAndShapeInfo();  // [N, C, H, W]; it lives as long as `type`
  const std::vector<int64_t> shape = expected.GetShape();

  std::ifstream file(argv[2], std::ios::binary);
  std::vector<char> pixels(std::istreambuf_iterator<char>(file), {});
  if (expected.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 || pixels.size() != expected.GetElementCount()) {
    std::fprintf(stderr, "%s: %zu bytes; the graph takes %zu pixels\n", argv[2], pixels.size(), expected.GetElementCount());
    return 2;
  }
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const Ort::Value input = Ort::Value::CreateTensor(
      memory, reinterpret_cast<uint8_t*>(pixels.data()), pixels.size(), shape.data(), shape.size());
  const char *inputs[] = {"input"}, *outputs[] = {"logits"};
  const auto results = session.Run(Ort::RunOptions(), inputs, &input, 1, outputs, 1);

  const float* logits = results[0].GetTensorData<float>();
  const size_t classes = results[0].GetTensorTypeAndShapeInfo().GetShape()[1];
  std::printf("class %td\n", std::max_element(logits, logits + classes) - logits);
  for (size_t k = 0; k < classes; ++k) std::printf("%.9g\n", logits[k]);
} catch (const Ort::Exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
