// Command protobuf is the peer that the protobuf form of objects is held against: Kubernetes' own
// types and serializers.
//
//	protobuf table BUILTIN.TXT   writes the table of fields that pinnace_api::protobuf reads
//	protobuf convert             answers requests, a JSON object a line, until its input ends
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// lineMax is the longest request, in bytes.
const lineMax = 16 << 20

type request struct {
	JSON     json.RawMessage `json:"json"`
	Protobuf []byte          `json:"protobuf"`
}

type answer struct {
	OfJSON     json.RawMessage `json:"ofJson,omitempty"`
	OfProtobuf json.RawMessage `json:"ofProtobuf,omitempty"`
	Protobuf   []byte          `json:"protobuf,omitempty"`
	Error      string          `json:"error,omitempty"`
}

func main() {
	types := scheme.Scheme
	for _, add := range []func(*runtime.Scheme) error{
		apiextensions.AddToScheme, apiregistration.AddToScheme, meta.AddMetaToScheme,
	} {
		if err := add(types); err != nil {
			fail(err)
		}
	}
	switch {
	case len(os.Args) == 3 && os.Args[1] == "table":
		if err := writeTable(types, os.Args[2]); err != nil {
			fail(err)
		}
	case len(os.Args) == 2 && os.Args[1] == "convert":
		serve(types)
	default:
		fail(fmt.Errorf("usage: protobuf table BUILTIN.TXT | protobuf convert"))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func serve(types *runtime.Scheme) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineMax)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		made, err := convert(types, lines.Bytes())
		if err != nil {
			made.Error = err.Error()
		}
		if err := out.Encode(made); err != nil {
			fail(err)
		}
	}
}

// convert reads both forms of an object and answers with each as JSON, and with its own protobuf.
func convert(types *runtime.Scheme, line []byte) (answer, error) {
	var asked request
	var made answer
	if err := json.Unmarshal(line, &asked); err != nil {
		return made, err
	}
	text := jsonserializer.NewSerializerWithOptions(
		jsonserializer.DefaultMetaFactory, types, types, jsonserializer.SerializerOptions{Strict: true})
	wire := protobuf.NewSerializer(types, types)
	object, kind, err := text.Decode(asked.JSON, nil, nil)
	if err != nil {
		return made, fmt.Errorf("json: %w", err)
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	if made.OfJSON, err = json.Marshal(object); err != nil {
		return made, err
	}
	var encoded bytes.Buffer
	if err := wire.Encode(object, &encoded); err != nil {
		return made, err
	}
	made.Protobuf = encoded.Bytes()
	object, kind, err = wire.Decode(asked.Protobuf, nil, nil)
	if err != nil {
		return made, fmt.Errorf("protobuf: %w", err)
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	made.OfProtobuf, err = json.Marshal(object)
	return made, err
}
