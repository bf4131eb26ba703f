"""The pipeline: one stage a file, one public function a stage. In the order in which they run:

types.py     Camera, View, ViewSet, Mask, Field, Mesh, UvMesh, TexturedMesh, PipelineResult: the nouns
progress.py  Run and Stage: counts, times, cancel, previews, warnings
presets.py   what draft, normal and high mean
generate.py  generate_from_views: all of the following, strung together

images.py    load_views       files -> ViewSet (cameras.py, colmap.py, lens.py, pointcloud.py read the rest)
matting.py   mask_views       ViewSet -> masks (cutout.py, silhouettes.py, objectpoints.py, agreement.py)
volume.py    working_volume   cameras and masks -> box
hull.py      visual_hull      views, masks, box -> Field (agreement.py, openings.py: masks that are wrong;
                              depth_carving.py: hollows, where views carry depth)
surface.py   extract_surface  Field -> Mesh
finish.py    finish_mesh      crumbs out, face budget, closed (manifold.py)
outlines.py  fit_outlines     hull bulges between the views: relaxed, with the same outlines
refine.py    refine_mesh      mesh and views -> mesh that looks like its views (refine_settings.py, targets.py,
                              refine_losses.py, refine_colours.py, refine_light.py, refine_points.py, largesteps.py,
                              refine_freedom.py; refine_guard.py judges the result)
remesh.py    remesh_isotropic triangles of one size (halfedge.py, crossing.py): between the steps of refine
unwrap.py    unwrap_mesh      Mesh -> UvMesh (unwrap_child.py runs xatlas; projection_charts.py when it is too slow)
bake.py      bake_texture     UvMesh and views -> texture (texels.py, trust.py, favour.py, delight.py, fill.py; kernels
                             in ../render), brought closer to all views by texture_fit.py (texture_losses.py)
normal_map.py bake_normal_map  UvMesh and the finer Mesh -> tangent-space map (tangents.py, texels.py)

generate_image.py  generate_from_image: one picture, by a model of ../models, to a textured mesh
picture.py   read_picture     any orientation, depth and colours -> upright sRGB
foreground.py  find_foreground  mask, alpha, network or colours -> object with alpha
floaters.py  without_floaters small pieces out
paint.py     paint_texture    the model's colours at covered texels, and the picture where it sees them

export.py    write_mesh       TexturedMesh -> .glb .obj .ply .stl .npz
"""
