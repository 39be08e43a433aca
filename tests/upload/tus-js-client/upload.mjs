// SPDX-License-Identifier: Apache-2.0
// One upload by tus-js-client as it comes. usage: upload.mjs OPTIONS, JSON: {file, endpoint, storage, chunkSize?, uploadDataDuringCreation?,
// uploadUrl?, retryDelays?}. Tells each step as a line of JSON; ends with 0 when the upload is complete.
import fs from "node:fs";
import * as tus from "tus-js-client";

const { file, storage, chunkSize, ...options } = JSON.parse(process.argv[2]);
const say = (what) => fs.writeSync(1, JSON.stringify(what) + "\n");

const upload = new tus.Upload(fs.createReadStream(file), {
    retryDelays: [0, 100, 300, 1000, 2000, 4000, 8000],
    ...options,
    chunkSize: chunkSize || Infinity,
    uploadSize: fs.statSync(file).size,
    metadata: { filename: "image", filetype: "application/octet-stream" },
    ...(storage ? { urlStorage: new tus.FileUrlStorage(storage) } : {}),
    fingerprint: async () => `gabbro-${file}`,
    removeFingerprintOnSuccess: true,
    onUploadUrlAvailable: () => say({ url: upload.url }),
    onProgress: (sent, total) => say({ sent, total }),
    onChunkComplete: (size, accepted) => say({ accepted }),
    onShouldRetry: (error, attempt, asked) => {
        say({ retry: attempt, status: error.originalResponse ? error.originalResponse.getStatus() : 0 });
        const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
        return status < 400 || status >= 500 || status === 409 || status === 423; // what it does without being asked
    },
    onError: (error) => {
        say({ error: String(error) + (error.causingError ? ` ${error.causingError.stack}` : ""), status: error.originalResponse ? error.originalResponse.getStatus() : 0 });
        process.exit(1);
    },
    onSuccess: () => {
        say({ done: true, url: upload.url });
        process.exit(0);
    },
});

const previous = storage ? await upload.findPreviousUploads() : [];
if (previous.length > 0) {
    say({ resuming: previous[0].uploadUrl });
    upload.resumeFromPreviousUpload(previous[0]);
}
upload.start();
