// What both examples need beside the library: errors that end the program, files, fields of JSON.
#ifndef STORY_H
#define STORY_H

#include <cjson/cJSON.h>
#include <pinnace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MANIFEST
#define MANIFEST "examples/manifests/web.yaml"
#endif

// Ends the program with a message if there is an error.
static inline void check(pinnace_error_t *error) {
    if (error == NULL) return;
    fprintf(stderr, "error: %s\n", pinnace_error_message(error));
    exit(1);
}

// The text of a file, to be freed.
static inline char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t length = 0, room = 65536;
    char *text = malloc(room);
    while (text != NULL) {
        length += fread(text + length, 1, room - 1 - length, file);
        if (length < room - 1) break;
        char *larger = realloc(text, room *= 2);
        if (larger == NULL) free(text);
        text = larger;
    }
    fclose(file);
    if (text == NULL) exit(1);
    text[length] = '\0';
    return text;
}

// A field of a part of an object as text, empty when there is none.
static inline const char *text(const cJSON *object, const char *part, const char *field) {
    const cJSON *found =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, part), field);
    return cJSON_IsString(found) ? found->valuestring : "";
}

#endif
