"""Single-image models: what one is (spec), which there are (registry), their weights (weights, download), and our own.

    spec.py      ModelSpec, SingleImageModel, LoadedModel, Reconstruction; settings as plain values
    registry.py  find_models(): our own, and plug-ins by entry points
    weights.py   WeightStore: what is there, fetch, adopt, verify, remove
    download.py  a file over HTTP: resumed, bounded, cancelled within a second
    matting/     networks that tell an object from its background (U2-Net, IS-Net, BiRefNet)
    silhouette/  the outline, inflated: a rough base that needs no weights
    triposr/     TripoSR (Tochilkin et al. 2024, arXiv 2403.02151)
"""
