/* Asks a SavedModel as a server does, without Python.

   c_api MODEL INPUT OUTPUT TEXT... prints the floats of OUTPUT, one a line.
   INPUT takes strings [N]; both are names of operations with the number of an output,
   as in "serving_default_text:0". OP_LIBRARIES: paths, with a colon between two. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output find(TF_Graph* graph, char* name) {
  char* colon = strrchr(name, ':');
  TF_Output found = {NULL, colon ? atoi(colon + 1) : 0};
  if (colon) *colon = 0;
  found.oper = TF_GraphOperationByName(graph, name);
  if (!found.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return found;
}

int main(int count, char** arguments) {
  if (count < 4) return 2;
  TF_Status* status = TF_NewStatus();
  char* libraries = getenv("OP_LIBRARIES");
  for (char* one = strtok(libraries, ":"); one; one = strtok(NULL, ":")) {
    TF_LoadLibrary(one, status);
    check(status, one);
  }

  const char* tags[] = {"serve"};
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, arguments[1], tags, 1, graph, NULL, status);
  check(status, "load");

  int64_t size = count - 4;
  TF_Tensor* texts =
      TF_AllocateTensor(TF_STRING, &size, 1, size * sizeof(TF_TString));
  TF_TString* values = TF_TensorData(texts);
  for (int64_t i = 0; i < size; i++) {
    TF_StringInit(&values[i]);
    TF_StringCopy(&values[i], arguments[4 + i], strlen(arguments[4 + i]));
  }

  TF_Output input = find(graph, arguments[2]);
  TF_Output output = find(graph, arguments[3]);
  TF_Tensor* found = NULL;
  TF_SessionRun(session, NULL, &input, &texts, 1, &output, &found, 1, NULL, 0, NULL,
                status);
  check(status, "run");
  if (TF_TensorType(found) != TF_FLOAT) return 3;
  const float* numbers = TF_TensorData(found);
  for (int64_t i = 0; i < TF_TensorElementCount(found); i++) {
    printf("%.9g\n", numbers[i]);
  }
  return 0;
}
