"""Runs inside QGIS's own Python: opens the exported files as a user would and prints what it sees as JSON.

QT_QPA_PLATFORM=offscreen python3 qgis_probe.py PICTURE FILE...
"""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def open_layer(path):
    """A layer as the browser would open it."""
    if path.endswith(".tif"):
        return QgsRasterLayer(path, "raster")
    return QgsVectorLayer(path + "|layername=footprints" if path.endswith(".gpkg") else path, "vector")


def vector(layer):
    """What QGIS knows of a vector layer."""
    features = list(layer.getFeatures())
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    if features:
        context.setFeature(features[0])
    extent = layer.extent()
    return {
        "features": layer.featureCount(),
        "valid": all(feature.geometry().isGeosValid() for feature in features),
        "fields": [field.name() for field in layer.fields()],
        "renderer": layer.renderer().type(),
        "attribute": getattr(layer.renderer(), "classAttribute", str)(),
        "classes": len(getattr(layer.renderer(), "ranges", list)()),
        "labels": layer.labelsEnabled(),
        "tip": QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context) if features else "",
        "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        "drawn": sorted({layer.renderer().legendKeyForValue(f["confidence"]) for f in features})
        if layer.renderer().type() == "graduatedSymbol"
        else [],
    }


def raster(layer):
    """What QGIS knows of a raster layer."""
    provider = layer.dataProvider()
    return {
        "size": [layer.height(), layer.width()],
        "nodata": provider.sourceNoDataValue(1),
        "scale": provider.bandScale(1),
        "pyramids": sum(level.exists for level in provider.buildPyramidList()),
    }


def draw(layers, path):
    """The layers as QGIS draws them."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[0].crs())
    settings.setExtent(layers[0].extent())
    settings.setOutputSize(QSize(900, 700))
    settings.setBackgroundColor(QColor(255, 255, 255))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)


def main(picture, *paths):
    """Open and describe all, draw the first."""
    application = QgsApplication([], False)
    application.initQgis()
    layers = [open_layer(path) for path in paths]
    report = []
    for path, layer in zip(paths, layers):  # noqa: B905 - older Pythons run this
        facts = {"path": path, "opens": layer.isValid(), "crs": layer.crs().authid() or layer.crs().toWkt()}
        kind = vector if isinstance(layer, QgsVectorLayer) else raster
        report.append({**facts, **(kind(layer) if layer.isValid() else {})})
    draw(layers[:1], picture)
    print(json.dumps(report), flush=True)
    # PyQGIS 3.22 can crash while Python frees its layers; all work is done, so leave without that.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
