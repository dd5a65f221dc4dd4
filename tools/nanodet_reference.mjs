// Compute tests/models/detection/nanodet_reference.json with TensorFlow.js, from the graph that tools/nanodet.py converts:
//
//     npm install @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-converter@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0
//     node nanodet_reference.mjs package/models > nanodet_reference.json
//
// Copy this file into the folder of the npm packages first. The picture is that of `picture` in test_nanodet.py.

import fs from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import * as wasm from '@tensorflow/tfjs-backend-wasm';

const SIDE = 416, CLASSES = 80, BINS = 11, EVERY = 37;
const MEAN = [103.53, 116.28, 123.675], STD = [57.375, 57.12, 58.395]; // BGR

const folder = process.argv[2];
wasm.setWasmPaths(`${import.meta.dirname}/node_modules/@tensorflow/tfjs-backend-wasm/dist/`);
await tf.setBackend('wasm');
const { modelTopology, format, signature, weightsManifest } = JSON.parse(fs.readFileSync(`${folder}/nanodet.json`));
const weightData = new Uint8Array(fs.readFileSync(`${folder}/nanodet.bin`)).buffer;
const weightSpecs = weightsManifest.flatMap((group) => group.weights);
const model = await loadGraphModel({ load: async () => ({ modelTopology, format, signature, weightSpecs, weightData }) });

const pixels = new Float32Array(3 * SIDE * SIDE);
for (let channel = 0; channel < 3; channel++) {
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const rgb = 2 - channel;
      const value = ((y >> 4) * 37 + (x >> 4) * 91 + rgb * 53 + ((y * x) % 97)) % 256;
      pixels[(channel * SIDE + y) * SIDE + x] = (value - MEAN[channel]) / STD[channel];
    }
  }
}
const names = [0, 1, 2, 3, 4, 5].map((number) => (number ? `Identity_${number}:0` : 'Identity:0'));
const outputs = model.execute({ 'input_1:0': tf.tensor(pixels, [1, 3, SIDE, SIDE]) }, names).map((t) => t.dataSync());
const cells = [];
for (let level = 0; level < 3; level++) {
  const [scores, logits] = [outputs[level], outputs[level + 3]];
  for (let cell = 0; cell < scores.length / CLASSES; cell++) {
    const row = [scores[cell * CLASSES]];
    for (let side = 0; side < 4; side++) {
      const start = (cell * 4 + side) * BINS;
      const weights = Array.from(logits.subarray(start, start + BINS), Math.exp);
      const total = weights.reduce((sum, weight) => sum + weight);
      row.push(weights.reduce((sum, weight, bin) => sum + weight * bin, 0) / total);
    }
    cells.push(row.map((value) => Number(value.toFixed(6))));
  }
}
const sampled = cells.filter((_, index) => index % EVERY === 0);
console.log(`{"every": ${EVERY}, "cells": [\n${sampled.map((row) => JSON.stringify(row)).join(',\n')}\n]}`);
